/* What servers say and want to hear: raw text, the Centrifuge JSON protocol, Socket.IO 4 (engine.io over WebSocket),
 * NATS's lines.
 * Each joins a room, answers pings, and hands payloads to the tally. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static bool begins(const char *text, size_t length, const char *with) {
    size_t size = strlen(with);
    return length >= size && memcmp(text, with, size) == 0;
}

static void say_hello(struct connection *c) {
    static struct buffer hello;
    fill(&hello, c->returning ? bench.again : bench.hello, c->returning ? strlen(bench.again) : bench.hello_length, c);
    send_text(c, hello.bytes, hello.length);
}

void on_open(struct connection *c) {
    if (bench.transport != WEBSOCKET) return; /* the request has said it */
    if (bench.dialect == CENTRIFUGE || bench.dialect == PROTOBUF) say_hello(c);
    if (bench.dialect == RAW) become_ready(c);
}

void refuse_joining(struct connection *c, const char *text, size_t length) {
    complain("joining was refused", text, length);
    close_connection(c, true);
}

/* Where a subscription stands, of its reply: the epoch, and the highest offset of any that it names. */
static void note_position(struct connection *c, const char *line, size_t length) {
    const char *end = line + length, *at = memmem(line, length, "\"epoch\":\"", 9);
    c->offset = 0;
    if (at) {
        at += 9;
        const char *stop = memchr(at, '"', (size_t)(end - at));
        size_t size = stop ? (size_t)(stop - at) : 0;
        if (size >= MOST_EPOCH) size = 0;
        memcpy(c->epoch, at, size);
        c->epoch[size] = 0;
    }
    for (at = line; (at = memmem(at, (size_t)(end - at), "\"offset\":", 9)); at += 9) {
        uint64_t offset = strtoull(at + 9, NULL, 10);
        if (offset > c->offset) c->offset = offset;
    }
}

static void on_subscribed(struct connection *c, const char *line, size_t length, uint64_t now) {
    note_position(c, line, length);
    if (c->returning) {
        count_deliveries(c, line, length, now);
        if (!memmem(line, length, "\"recovered\":true", 16)) {
            refuse_joining(c, line, length);
            return;
        }
    }
    become_ready(c);
}

static void note(char *into, const char *line, size_t length, const char *key) {
    const char *at = memmem(line, length, key, strlen(key));
    const char *stop = at ? memchr(at + strlen(key), '"', (size_t)(line + length - at) - strlen(key)) : NULL;
    size_t size = stop ? (size_t)(stop - at) - strlen(key) : 0;
    if (size >= MOST_SESSION) size = 0;
    memcpy(into, stop ? at + strlen(key) : "", size);
    into[size] = 0;
}

/* It is connected by a streaming response, and goes on beside it. */
static void on_session(struct connection *c, const char *line, size_t length) {
    static struct buffer filled;
    note(c->session, line, length, "\"session\":\"");
    note(c->node, line, length, "\"node\":\"");
    if (!*bench.then) return;
    fill(&filled, bench.then, strlen(bench.then), c);
    say_beside(c, filled.bytes, filled.length);
}

static void on_reply(struct connection *c, const char *line, size_t length, uint64_t now) {
    bool error = memmem(line, length, "\"error\"", 7) != NULL;
    if (c->state == READY) {
        bench.run.acks += !error;
        bench.run.errors += error;
        if (error) complain("a command was refused", line, length);
        on_answer(c, error);
    } else if (error) {
        refuse_joining(c, line, length);
    } else if (bench.transport != WEBSOCKET && memmem(line, length, "\"connect\":", 10)) {
        on_session(c, line, length);
    } else if (memmem(line, length, "\"subscribe\":", 12)) {
        on_subscribed(c, line, length, now);
    }
}

static bool is_join(const char *line, size_t length) {
    return begins(line, length, "{\"push\":") && memmem(line, length < 96 ? length : 96, "\"join\":", 7);
}

static void on_centrifuge(struct connection *c, const char *text, size_t length, uint64_t now) {
    const char *end = text + length;
    while (text < end && c->state != CLOSED) {
        const char *line = text, *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        size_t size = (size_t)(stop - line);
        text = stop + 1;
        if (size == 2 && bench.transport != WEBSOCKET)
            say_beside(c, "{}", 2);
        else if (size == 2)
            send_text(c, "{}", 2);
        else if (begins(line, size, "{\"id\":"))
            on_reply(c, line, size, now);
        else if (is_join(line, size)) {
            bench.announced++;
            bench.last_announced = now;
        } else
            count_deliveries(c, line, size, now);
    }
}

static void on_socketio(struct connection *c, const char *text, size_t length, uint64_t now) {
    if (begins(text, length, "42"))
        count_deliveries(c, text, length, now);
    else if (begins(text, length, "2"))
        send_text(c, "3", 1);
    else if (begins(text, length, "0"))
        send_text(c, "40", 2);
    else if (begins(text, length, "40"))
        say_hello(c);
    else if (begins(text, length, "430") && c->state == JOINING)
        become_ready(c);
    else if (begins(text, length, "43"))
        on_answer(c, false);
    else if (begins(text, length, "44"))
        refuse_joining(c, text, length);
}

static bool on_nats_line(struct connection *c, const char *line, size_t length) {
    if (begins(line, length, "PING"))
        send_text(c, "PONG\r\n", 6);
    else if (begins(line, length, "INFO") && c->state == JOINING)
        say_hello(c);
    else if (begins(line, length, "PONG") && c->state == JOINING)
        become_ready(c);
    else if (begins(line, length, "PONG"))
        on_answer(c, false);
    else if (begins(line, length, "-ERR") && c->state == JOINING)
        refuse_joining(c, line, length);
    else if (begins(line, length, "-ERR")) {
        complain("a command was refused", line, length);
        bench.run.errors++;
    } else {
        return false;
    }
    return true;
}

/* A frame has whole lines and messages. A message's payload is a line too; what is none of the words above is not read
 * but counted. */
static void on_nats(struct connection *c, const char *text, size_t length, uint64_t now) {
    const char *end = text + length, *rest = text;
    while (rest < end && c->state != CLOSED) {
        const char *stop = memchr(rest, '\n', (size_t)(end - rest));
        size_t size = (size_t)((stop ? stop : end) - rest);
        if (!on_nats_line(c, rest, size)) count_deliveries(c, rest, size, now);
        rest += size + 1;
    }
}

void on_text(struct connection *c, const char *text, size_t length, uint64_t now) {
    if (bench.dialect == CENTRIFUGE)
        on_centrifuge(c, text, length, now);
    else if (bench.dialect == PROTOBUF)
        on_protobuf(c, text, length, now);
    else if (bench.dialect == SOCKETIO)
        on_socketio(c, text, length, now);
    else if (bench.dialect == NATS)
        on_nats(c, text, length, now);
    else
        count_deliveries(c, text, length, now);
}
