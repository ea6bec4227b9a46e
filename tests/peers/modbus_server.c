/* A Modbus/TCP server on libmodbus that records what it executes: modbus_server ADDRESS PORT RECORD [ALL_IN_ONE].
 *
 * RECORD gets the function code of each request, a line each. It serves one connection after the other. With
 * ALL_IN_ONE, what one read returns is one request, whatever stands behind it: as several products do it.
 */
#include "modbus_record.h"

int main(int count, char **words)
{
    int listener = begin(count, words, 1);
    if (listener < 0)
        return 1;
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
