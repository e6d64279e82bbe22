/* What is put into ready-made texts: %r the room (%R: as six digits), %i a fresh command id, %n the channel that a client visits by churn,
 * %e and %o the epoch and offset at which it stood, %t the next of the tokens. Anything else stays. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static uint32_t command = 100;
static char **tokens;
static size_t token_count, next_token;

bool read_tokens(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t length; (length = getline(&line, &room, file)) > 0;) {
        line[strcspn(line, "\n")] = 0;
        tokens = realloc(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
    return token_count > 0;
}

static const char *a_token(void) { return token_count ? tokens[next_token++ % token_count] : ""; }

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
        const char *token;
        switch (next[1]) {
        case 'r': width = snprintf(value, sizeof value, "%u", c->room); break;
        case 'R': width = snprintf(value, sizeof value, "%06u", c->room); break;
        case 'i': width = snprintf(value, sizeof value, "%u", ++command); break;
        case 'n': width = snprintf(value, sizeof value, "%u", c->visited); break;
        case 'o': width = snprintf(value, sizeof value, "%" PRIu64, c->offset); break;
        case 't': token = a_token(); append(into, token, strlen(token)); break;
        case 'e': width = snprintf(value, sizeof value, "%s", c->epoch); break;
        default: append(into, next, 2);
        }
        append(into, value, (size_t)width);
        template = next + 2;
    }
}
