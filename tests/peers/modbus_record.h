/* What the servers on libmodbus share: points, a record of what is executed, and an ear. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ITEMS = 1000, HEADER = 7 };

static modbus_t *context;
static modbus_mapping_t *map;
static FILE *record;

/* Listen as the words ADDRESS PORT RECORD say; tells "ready" on standard output. Gives the ear, or -1. */
static int begin(int count, char **words, int backlog)
{
    if (count < 4)
        return -1;
    context = modbus_new_tcp(words[1], atoi(words[2]));
    map = modbus_mapping_new(ITEMS, ITEMS, ITEMS, ITEMS);
    record = fopen(words[3], "a");
    if (context == NULL || map == NULL || record == NULL)
        return -1;
    setvbuf(record, NULL, _IOLBF, 0);
    int listener = modbus_tcp_listen(context, backlog);
    if (listener >= 0) {
        puts("ready");
        fflush(stdout);
    }
    return listener;
}
