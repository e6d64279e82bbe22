/* SHA-1 of a short text (under 119 bytes), for the WebSocket handshake alone. */
#ifndef SHA1_H
#define SHA1_H
#include <stdint.h>
void sha1(const char *text, uint8_t digest[20]);
#endif
