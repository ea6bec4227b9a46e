/* A Modbus/TCP server on libmodbus that records what it executes: modbus_server ADDRESS PORT RECORD [ALL_IN_ONE].
 *
 * RECORD gets the function code of each request, a line each. It serves one connection after the other. With
 * ALL_IN_ONE, what one read returns is one request, whatever stands behind it: as several products do it.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ITEMS = 1000, HEADER = 7 };

int main(int count, char **words)
{
    if (count < 4)
        return 2;
    modbus_t *context = modbus_new_tcp(words[1], atoi(words[2]));
    modbus_mapping_t *map = modbus_mapping_new(ITEMS, ITEMS, ITEMS, ITEMS);
    FILE *record = fopen(words[3], "a");
    if (context == NULL || map == NULL || record == NULL)
        return 1;
    setvbuf(record, NULL, _IOLBF, 0);
    int listener = modbus_tcp_listen(context, 1);
    if (listener < 0)
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(context, &listener) < 0)
            return 1;
        unsigned char request[MODBUS_TCP_MAX_ADU_LENGTH];
        for (;;) {
            int size = count > 4 ? (int)recv(modbus_get_socket(context), request, sizeof request, 0)
                                 : modbus_receive(context, request);
            if (size > HEADER) {
                fprintf(record, "%d\n", request[HEADER]);
                if (modbus_reply(context, request, size, map) < 0)
                    break;
            } else if (size < 0 && errno == EINTR) {
                continue;
            } else if (size != 0 || count > 4) {
                break;
            }
        }
        modbus_close(context);
    }
}
