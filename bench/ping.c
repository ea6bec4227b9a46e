/* Modbus/TCP polls (function 3, ten registers) as ping-pong: what a round trip costs, and how many fit in a second.
 *
 *   ping serve ADDRESS PORT                  answers every poll; prints "ready" first
 *   ping poll SOURCE ADDRESS PORT SESSIONS   opens SESSIONS connections, prints "ready", and reads commands:
 *       latency COUNT         COUNT polls, one at a time, over all sessions in turn
 *       throughput MILLIS     one poll under way on every session, for that long
 *       throughput MILLIS N   the same on the first N sessions
 *       trace COUNT              as latency, and the answer is a list: when each began (CLOCK_MONOTONIC) and how long
 *                                it took
 *     Each other one is answered by a line of JSON: times in microseconds, percentiles of all round trips (nothing is
 *     binned), and a histogram in steps of a quarter of a power of two.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 12, REGISTERS = 10, RESPONSE = 9 + 2 * REGISTERS, EVENTS = 256, STEPS = 4, BUCKETS = 30 * STEPS };

static void fail(const char *what)
{
    fprintf(stderr, "ping: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static struct sockaddr_in at(const char *address, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
        fail(address);
    return a;
}

static void no_delay(int s)
{
    int one = 1;
    if (setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
        fail("TCP_NODELAY");
}

/* Whole requests in, whole responses out; a client of ours never has part of a request under way for long. */
struct session {
    int socket;
    size_t have;
    double began;
    uint16_t transaction;
    unsigned char data[4096];
};

static void answer(struct session *s)
{
    unsigned char out[sizeof s->data / REQUEST * RESPONSE];
    size_t size = 0, seen = 0;
    for (; s->have - seen >= REQUEST; seen += REQUEST) {
        memset(out + size, 0, RESPONSE);
        memcpy(out + size, s->data + seen, 2);
        out[size + 5] = RESPONSE - 6;
        out[size + 6] = s->data[seen + 6];
        out[size + 7] = s->data[seen + 7];
        out[size + 8] = 2 * REGISTERS;
        size += RESPONSE;
    }
    memmove(s->data, s->data + seen, s->have - seen);
    s->have -= seen;
    if (size && send(s->socket, out, size, MSG_NOSIGNAL) != (ssize_t)size)
        s->have = sizeof s->data; /* closed below, by a read of no bytes */
}

static int serve(const char *address, int port)
{
    struct sockaddr_in a = at(address, port);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 4096))
        fail("listen");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, ready, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct session *s = ready[i].data.ptr;
            if (s == NULL) {
                int socket = accept(listener, NULL, NULL);
                if (socket < 0)
                    continue;
                no_delay(socket);
                s = calloc(1, sizeof *s);
                s->socket = socket;
                e.data.ptr = s;
                epoll_ctl(poll, EPOLL_CTL_ADD, socket, &e);
                continue;
            }
            ssize_t got = recv(s->socket, s->data + s->have, sizeof s->data - s->have, 0);
            if (got <= 0) {
                close(s->socket);
                free(s);
                continue;
            }
            s->have += got;
            answer(s);
        }
    }
}

static void ask(struct session *s)
{
    uint16_t id = htons(++s->transaction);
    unsigned char request[REQUEST] = {0, 0, 0, 0, 0, 6, 1, 3, 0, 0, 0, REGISTERS};
    memcpy(request, &id, 2);
    s->have = 0;
    s->began = now();
    if (send(s->socket, request, REQUEST, MSG_NOSIGNAL) != REQUEST)
        fail("send");
}

/* 1 where the answer is whole, 0 where more has to come. */
static int hear(struct session *s)
{
    ssize_t got = recv(s->socket, s->data + s->have, RESPONSE - s->have, 0);
    if (got <= 0)
        fail("the session was closed");
    s->have += got;
    if (s->have < RESPONSE)
        return 0;
    if (s->data[7] != 3 || ((s->data[0] << 8) | s->data[1]) != s->transaction) {
        errno = EPROTO;
        fail("the answer is not ours");
    }
    return 1;
}

static float *times;
static size_t taken, room;

static void note(double time)
{
    if (taken == room) {
        room = room ? 2 * room : 1 << 16;
        times = realloc(times, room * sizeof *times);
        if (times == NULL)
            fail("memory");
    }
    times[taken++] = time;
}

static int smaller(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double part(double share)
{
    size_t place = (size_t)ceil(share * taken);
    return times[place ? place - 1 : 0];
}

static void tell(double seconds)
{
    unsigned long buckets[BUCKETS] = {0};
    qsort(times, taken, sizeof *times, smaller);
    for (size_t i = 0; i < taken; i++) {
        int bucket = (int)floor(log2(times[i] < 1 ? 1 : times[i]) * STEPS);
        buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    printf("{\"count\": %zu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50\": %.2f, \"p99\": %.2f, \"p99.9\": %.2f, "
           "\"p99.99\": %.2f, \"max\": %.2f, \"histogram\": [",
           taken, seconds, taken / seconds, part(.5), part(.99), part(.999), part(.9999), times[taken - 1]);
    const char *comma = "";
    for (int i = 0; i < BUCKETS; i++)
        if (buckets[i]) {
            printf("%s[%.2f, %lu]", comma, exp2((double)i / STEPS), buckets[i]);
            comma = ", ";
        }
    puts("]}");
    fflush(stdout);
    taken = 0;
}

static void latency(struct session *all, int sessions, long count)
{
    double began = now();
    for (long i = 0; i < count; i++) {
        struct session *s = &all[i % sessions];
        ask(s);
        while (!hear(s))
            ;
        note(now() - s->began);
    }
    tell((now() - began) / 1e6);
}

static void trace(struct session *all, int sessions, long count)
{
    double *began = calloc(count, sizeof *began), *took = calloc(count, sizeof *took);
    if (began == NULL || took == NULL)
        fail("memory");
    for (long i = 0; i < count; i++) {
        struct session *s = &all[i % sessions];
        ask(s);
        while (!hear(s))
            ;
        began[i] = s->began;
        took[i] = now() - s->began;
    }
    for (long i = 0; i < count; i++)
        printf("%s[%.1f, %.1f]", i ? ", " : "[", began[i], took[i]);
    puts("]");
    fflush(stdout);
    free(began);
    free(took);
}

static void throughput(struct session *all, int sessions, double millis)
{
    int poll = epoll_create1(0), under_way = sessions;
    struct epoll_event ready[EVENTS];
    double began = now(), end = began + millis * 1e3, last = began;
    for (int i = 0; i < sessions; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &e);
        ask(&all[i]);
    }
    while (under_way) {
        int count = epoll_wait(poll, ready, EVENTS, 10000);
        if (count <= 0)
            fail("no answer within 10 s");
        for (int i = 0; i < count; i++) {
            struct session *s = ready[i].data.ptr;
            if (!hear(s))
                continue;
            last = now();
            note(last - s->began);
            if (last < end)
                ask(s);
            else
                under_way--;
        }
    }
    close(poll);
    tell((last - began) / 1e6);
}

static int poll_sessions(const char *source, const char *address, int port, int sessions)
{
    struct session *all = calloc(sessions, sizeof *all);
    struct sockaddr_in from = at(source, 0), to = at(address, port);
    for (int i = 0; i < sessions; i++) {
        struct timeval patience = {.tv_sec = 10};
        int s = all[i].socket = socket(AF_INET, SOCK_STREAM, 0);
        no_delay(s);
        setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (bind(s, (void *)&from, sizeof from) || connect(s, (void *)&to, sizeof to))
            fail("connect");
        ask(&all[i]);
        while (!hear(&all[i]))
            ;
    }
    puts("ready");
    fflush(stdout);
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        char what[20];
        double amount;
        int some = sessions;
        if (sscanf(line, "%19s %lf %d", what, &amount, &some) < 2 || some < 1 || some > sessions)
            return 2;
        if (!strcmp(what, "latency"))
            latency(all, sessions, (long)amount);
        else if (!strcmp(what, "trace"))
            trace(all, sessions, (long)amount);
        else
            throughput(all, some, amount);
    }
    return 0;
}

int main(int count, char **words)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (count == 4 && !strcmp(words[1], "serve"))
        return serve(words[2], atoi(words[3]));
    if (count == 6 && !strcmp(words[1], "poll"))
        return poll_sessions(words[2], words[3], atoi(words[4]), atoi(words[5]));
    fputs("ping serve ADDRESS PORT | ping poll SOURCE ADDRESS PORT SESSIONS\n", stderr);
    return 2;
}
