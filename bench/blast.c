/* blast INTERFACE MAC SOURCE DESTINATION SPORT DPORT: what the kernel takes to carry a TCP segment to where it ends.
 *
 * For each line with a number it sends so many segments, one after the other, twenty times over, and prints the
 * nanoseconds of processor time of one in the quickest of the twenty. On veth the sender's system call does all of it.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { TIMES = 20, PAYLOAD = 12 };

static struct {
    struct ethhdr ether;
    struct iphdr ip;
    struct tcphdr tcp;
    char payload[PAYLOAD];
} __attribute__((packed)) frame;

static double ran(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint16_t header_sum(const void *header)
{
    uint32_t sum = 0;
    uint16_t word;
    for (size_t at = 0; at < sizeof frame.ip; at += 2) {
        memcpy(&word, (const char *)header + at, 2);
        sum += word;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

int main(int count, char **words)
{
    struct ifreq own = {0};
    unsigned octets[ETH_ALEN];
    char line[32];
    int out = socket(AF_PACKET, SOCK_RAW, 0);
    if (count != 7 || out < 0)
        return 1;
    strncpy(own.ifr_name, words[1], IFNAMSIZ - 1);
    if (ioctl(out, SIOCGIFHWADDR, &own) < 0 ||
        sscanf(words[2], "%x:%x:%x:%x:%x:%x", octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5) != 6) {
        perror("blast");
        return 1;
    }
    struct sockaddr_ll where = {.sll_ifindex = (int)if_nametoindex(words[1]), .sll_halen = ETH_ALEN};
    for (int at = 0; at < ETH_ALEN; at++) {
        frame.ether.h_dest[at] = where.sll_addr[at] = (unsigned char)octets[at];
        frame.ether.h_source[at] = (unsigned char)own.ifr_hwaddr.sa_data[at];
    }
    frame.ether.h_proto = htons(ETH_P_IP);
    frame.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .frag_off = htons(IP_DF)};
    frame.ip.tot_len = htons(sizeof frame - sizeof frame.ether);
    frame.ip.saddr = inet_addr(words[3]);
    frame.ip.daddr = inet_addr(words[4]);
    frame.ip.check = header_sum(&frame.ip);
    frame.tcp = (struct tcphdr){.doff = 5, .ack = 1, .psh = 1};
    frame.tcp.source = htons((uint16_t)atoi(words[5]));
    frame.tcp.dest = htons((uint16_t)atoi(words[6]));
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        int segments = atoi(line);
        double quickest = 1e18;
        for (int time = 0; time < TIMES; time++) {
            double began = ran();
            for (int sent = 0; sent < segments; sent++)
                if (sendto(out, &frame, sizeof frame, 0, (struct sockaddr *)&where, sizeof where) < 0) {
                    perror("blast");
                    return 1;
                }
            if ((ran() - began) / segments < quickest)
                quickest = (ran() - began) / segments;
        }
        printf("%.0f\n", quickest);
        fflush(stdout);
    }
    return 0;
}
