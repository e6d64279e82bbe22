/* What is put into ready-made texts: %r the room, %i a fresh command id, %n the channel that a client visits by churn,
 * %e and %o the epoch and offset at which it stood. Anything else stays. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

static uint32_t command = 100;

void fill(struct buffer *into, const char *template, size_t length, const struct connection *c) {
    into->length = 0;
    const char *end = template + length;
    while (template < end) {
        const char *next = memchr(template, '%', (size_t)(end - template));
        if (!next || next + 1 == end) next = end;
        append(into, template, (size_t)(next - template));
        if (next == end) return;
        char value[MOST_EPOCH];
        int width = 0;
        switch (next[1]) {
        case 'r': width = snprintf(value, sizeof value, "%u", c->room); break;
        case 'i': width = snprintf(value, sizeof value, "%u", ++command); break;
        case 'n': width = snprintf(value, sizeof value, "%u", c->visited); break;
        case 'o': width = snprintf(value, sizeof value, "%" PRIu64, c->offset); break;
        case 'e': width = snprintf(value, sizeof value, "%s", c->epoch); break;
        default: append(into, next, 2);
        }
        append(into, value, (size_t)width);
        template = next + 2;
    }
}
