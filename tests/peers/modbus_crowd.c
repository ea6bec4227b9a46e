/* A Modbus/TCP server on libmodbus for many connections at a time: modbus_crowd ADDRESS PORT RECORD.
 *
 * RECORD gets the function code of each request that it executes, a line each. It waits for the rest of a request for
 * half a second, as libmodbus does.
 */
#include <poll.h>
#include "modbus_record.h"

enum { CONNECTIONS = 256 };

int main(int count, char **words)
{
    int listener = begin(count, words, 64);
    if (listener < 0)
        return 1;
    struct pollfd waiting[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
    int open = 1;
    for (;;) {
        if (poll(waiting, open, -1) < 0)
            continue;
        for (int at = open - 1; at > 0; at--) {
            if (!waiting[at].revents)
                continue;
            unsigned char request[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(context, waiting[at].fd);
            int size = modbus_receive(context, request);
            if (size > HEADER) {
                fprintf(record, "%d\n", request[HEADER]);
                size = modbus_reply(context, request, size, map);
            }
            if (size < 0) {
                close(waiting[at].fd);
                waiting[at] = waiting[--open];
            }
        }
        if (waiting[0].revents) {
            int found = accept(listener, NULL, NULL);
            if (found >= 0 && open <= CONNECTIONS)
                waiting[open++] = (struct pollfd){.fd = found, .events = POLLIN};
            else if (found >= 0)
                close(found);
        }
    }
}
