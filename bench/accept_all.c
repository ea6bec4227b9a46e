/* accept_all QUEUE [BITS]: a C program on libnetfilter_queue that lets everything go on: the floor of NFQUEUE.
 *
 * BITS (a number, 0x... too) are set in the mark of what goes on, as conduitfw does so that its ruleset lets it pass.
 * The socket buffer is that of conduitfw/kernel/netlink_queue.py. Prints "ready" when it serves.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { LENGTH = 8192, SOCKET_BYTES = 8 * 1024 * 1024, COPY = 4016 };

static uint32_t bits;

static int take(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *packet, void *nothing)
{
    struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(packet);
    (void)message;
    (void)nothing;
    if (header == NULL)
        return 0;
    if (bits == 0)
        return nfq_set_verdict(queue, ntohl(header->packet_id), NF_ACCEPT, 0, NULL);
    return nfq_set_verdict2(queue, ntohl(header->packet_id), NF_ACCEPT, nfq_get_nfmark(packet) | bits, 0, NULL);
}

int main(int count, char **words)
{
    static char data[65536] __attribute__((aligned));
    struct nfq_handle *handle = count == 2 || count == 3 ? nfq_open() : NULL;
    struct nfq_q_handle *queue = handle ? nfq_create_queue(handle, atoi(words[1]), &take, NULL) : NULL;
    if (queue == NULL || nfq_set_mode(queue, NFQNL_COPY_PACKET, COPY) < 0 || nfq_set_queue_maxlen(queue, LENGTH) < 0) {
        perror("accept_all");
        return 1;
    }
    bits = count == 3 ? strtoul(words[2], NULL, 0) : 0;
    nfnl_rcvbufsiz(nfq_nfnlh(handle), SOCKET_BYTES);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t size = recv(nfq_fd(handle), data, sizeof data, 0);
        if (size >= 0)
            nfq_handle_packet(handle, data, (int)size);
        else if (errno != ENOBUFS && errno != EINTR)
            return 1;
    }
}
