/* The Centrifuge protocol in Protobuf: a frame has replies, each behind its length (a varint). Of a reply no more is read
 * than what it is; an empty one is a ping. */
#include "bench.h"

#define LENGTH_DELIMITED 2
#define VARINT 0

enum field { ID = 1, ERROR = 2, PUSH = 4, SUBSCRIBE = 6 };

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

/* Which fields a reply has, as bits; 0 where it is none. */
static uint32_t fields_of(const uint8_t *at, const uint8_t *end) {
    uint32_t found = 0;
    uint64_t tag, value;
    while (at < end) {
        if (!take_varint(&at, end, &tag) || !take_varint(&at, end, &value)) return 0;
        if ((tag & 7) == LENGTH_DELIMITED) {
            if (value > (uint64_t)(end - at)) return 0;
            at += value;
        } else if ((tag & 7) != VARINT) {
            return 0;
        }
        if (tag >> 3 < 32) found |= 1u << (tag >> 3);
    }
    return found;
}

static void on_reply(struct connection *c, uint32_t has, const char *bytes, size_t length) {
    bool error = has & 1u << ERROR;
    if (c->state == READY) {
        bench.run.acks += !error;
        bench.run.errors += error;
        if (error) complain("a command was refused", bytes, length);
        on_answer(c, error);
    } else if (error) {
        refuse_joining(c, bytes, length);
    } else if (has & 1u << SUBSCRIBE) {
        become_ready(c);
    }
}

void on_protobuf(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    const uint8_t *at = (const uint8_t *)bytes, *end = at + length;
    uint64_t size;
    while (at < end && c->state != CLOSED) {
        if (!take_varint(&at, end, &size) || size > (uint64_t)(end - at)) {
            complain("a frame without whole replies", bytes, length);
            bench.run.errors++;
            return;
        }
        const char *reply = (const char *)at;
        at += size;
        if (size == 0) {
            send_text(c, "\0", 1);
        } else if ((uint8_t)*reply == (PUSH << 3 | LENGTH_DELIMITED)) {
            count_deliveries(c, reply, size, now);
        } else {
            uint32_t has = fields_of((const uint8_t *)reply, at);
            if (has & 1u << ID)
                on_reply(c, has, reply, size);
            else
                complain("a reply without an id", reply, size);
        }
    }
}
