/* Sockets and WebSocket frames of the client's side. Reads once per event into a shared buffer; keeps only what is
 * incomplete. Frames must be whole (FIN): a fragment is counted as an error, never silently skipped. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define INPUT (4u << 20)

static char input[INPUT];

void append(struct buffer *to, const void *bytes, size_t length) {
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2;
        to->bytes = realloc(to->bytes, to->room);
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void set_buffer(struct buffer *to, const char *bytes, size_t length) {
    if (length == 0) {
        free(to->bytes);
        *to = (struct buffer){0};
        return;
    }
    to->length = 0;
    append(to, bytes, length);
}

static void watch(struct connection *c, int operation) {
    uint32_t events = (c->muted && c->state == READY ? 0 : EPOLLIN) | (c->writing ? EPOLLOUT : 0);
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(bench.epoll, operation, c->fd, &event);
}

static void begin(struct connection *c, uint16_t port, int receive_buffer) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->began = now_us();
    bench.opening++;
    if (c->fd < 0) {
        complain("socket", strerror(errno), strlen(strerror(errno)));
        c->state = CLOSED;
        bench.opening--;
        bench.failed++;
        return;
    }
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (receive_buffer) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int done = connect(c->fd, (struct sockaddr *)&to, sizeof to);
    c->state = CONNECTING;
    c->writing = true;
    watch(c, EPOLL_CTL_ADD);
    if (done < 0 && errno != EINPROGRESS) {
        complain("connect", strerror(errno), strlen(strerror(errno)));
        close_connection(c, true);
    }
}

void open_connection(int receive_buffer, bool muted) {
    struct connection *c = calloc(1, sizeof *c);
    uint32_t index = bench.count++;
    if ((index & (index + 1)) == 0 || index == 0)
        bench.connections = realloc(bench.connections, sizeof c * 2 * (index + 1));
    bench.connections[index] = c;
    c->room = index / bench.members % bench.rooms;
    c->member = index % bench.members;
    c->muted = muted;
    c->last = calloc(bench.sources, sizeof *c->last);
    begin(c, bench.ports[index % (unsigned)bench.port_count], receive_buffer);
}

/* One that was closed comes back, and asks for what was published since. */
void reopen_connection(struct connection *c) {
    c->returning = true;
    begin(c, bench.ports[c->room % (unsigned)bench.port_count], 0);
}

void close_connection(struct connection *c, bool failed) {
    if (c->state == CLOSED) return;
    if (c->state == READY) {
        bench.ready--;
        if (!c->muted) bench.readers[c->room]--;
        if (failed && !c->muted) bench.run.dropped++;
    } else {
        bench.opening--;
        bench.failed += failed;
    }
    if (c->tls) tls_end(c);
    close(c->fd);
    c->state = CLOSED;
    set_buffer(&c->rest, NULL, 0);
    set_buffer(&c->out, NULL, 0);
}

void become_ready(struct connection *c) {
    c->state = READY;
    bench.opening--;
    bench.ready++;
    if (!c->muted) bench.readers[c->room]++;
    if (!c->returning) /* who returns has just been told all of it */
        for (uint32_t s = 0; s < bench.sources; s++) c->last[s] = bench.numbers[c->room * bench.sources + s];
    record(&bench.joining, now_us() - c->began);
    if (c->muted) watch(c, EPOLL_CTL_MOD);
}

void unmute(struct connection *c) {
    if (c->state != READY || !c->muted) return;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(bench.epoll, EPOLL_CTL_MOD, c->fd, &event); /* it reads again, but its deliveries do not count */
}

void flush_out(struct connection *c) {
    ssize_t sent = c->tls ? tls_write(c, c->out.bytes, c->out.length)
                          : send(c->fd, c->out.bytes, c->out.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return; /* reading tells what happened */
    if (sent < 0) sent = 0;
    c->out.length -= (size_t)sent;
    memmove(c->out.bytes, c->out.bytes + sent, c->out.length);
    bool writing = c->out.length > 0;
    if (writing != c->writing) {
        c->writing = writing;
        watch(c, EPOLL_CTL_MOD);
    }
}

static void send_frame(struct connection *c, uint8_t opcode, const char *payload, size_t length) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t head[8] = {(uint8_t)(0x80 | opcode), (uint8_t)(0x80 | (length < 126 ? length : 126))};
    size_t size = 2;
    if (length >= 126) {
        head[size++] = (uint8_t)(length >> 8);
        head[size++] = (uint8_t)length;
    }
    memcpy(head + size, key, 4);
    append(&c->out, head, size + 4);
    append(&c->out, payload, length);
    uint8_t *masked = (uint8_t *)c->out.bytes + c->out.length - length;
    for (size_t i = 0; i < length; i++) masked[i] ^= key[i & 3];
    if (!c->writing) flush_out(c);
}

void send_text(struct connection *c, const char *text, size_t length) {
    send_frame(c, bench.dialect == PROTOBUF ? 2 : 1, text, length);
}

static void on_frame(struct connection *c, uint8_t opcode, const char *payload, size_t length, uint64_t now) {
    if (opcode == 1 || opcode == 2) {
        on_text(c, payload, length, now);
    } else if (opcode == 8) {
        c->code = length >= 2 ? (uint16_t)((uint8_t)payload[0] << 8 | (uint8_t)payload[1]) : 1005;
        if (c->state != READY) complain("closed while joining", payload + 2, length >= 2 ? length - 2 : 0);
        send_frame(c, 8, payload, length >= 2 ? 2 : 0);
    } else if (opcode == 9) {
        send_frame(c, 10, payload, length);
    }
}

/* Takes whole frames; returns how many bytes were used. */
static size_t take_frames(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    size_t at = 0;
    while (length - at >= 2 && c->state != CLOSED) {
        const uint8_t *head = (const uint8_t *)bytes + at;
        uint64_t size = head[1] & 0x7f;
        size_t start = 2;
        if (size == 126) {
            if (length - at < 4) break;
            size = (uint64_t)(head[2] << 8 | head[3]);
            start = 4;
        } else if (size == 127) {
            if (length - at < 10) break;
            size = 0;
            for (int i = 2; i < 10; i++) size = size << 8 | head[i];
            start = 10;
        }
        if (length - at - start < size) break;
        if (!(head[0] & 0x80) || (head[0] & 0x70) || (head[0] & 0x0f) == 0) {
            complain("an unexpected frame", bytes + at, 2);
            bench.run.errors++;
        }
        on_frame(c, head[0] & 0x0f, bytes + at + start, size, now);
        at += start + size;
    }
    return at;
}

static void secure(struct connection *c) {
    int done = tls_handshake(c);
    if (done == 1) {
        c->state = UPGRADING;
        ask(c);
        return;
    }
    if (done == 0 || errno != EAGAIN) {
        complain("the TLS handshake", "failed", 6);
        close_connection(c, true);
        return;
    }
    bool writing = false; /* a client's handshake waits for the server, whatever it has sent fits */
    if (writing != c->writing) {
        c->writing = writing;
        watch(c, EPOLL_CTL_MOD);
    }
}

static void begin_talking(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        complain("connect", strerror(error), strlen(strerror(error)));
        close_connection(c, true);
        return;
    }
    if (bench.secure && !tls_begin(c)) {
        close_connection(c, true);
        return;
    }
    c->state = c->tls ? SECURING : UPGRADING;
    if (c->tls)
        secure(c);
    else
        ask(c);
}

void on_connection(struct connection *c, uint32_t events) {
    if (c->state == CLOSED) return;
    if (c->state == CONNECTING) {
        begin_talking(c);
        return;
    }
    if (c->state == SECURING) {
        secure(c);
        return;
    }
    if (events & EPOLLOUT) flush_out(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    size_t kept = c->rest.length;
    if (kept) memcpy(input, c->rest.bytes, kept);
    ssize_t got = c->tls ? tls_read(c, input + kept, INPUT - kept) : recv(c->fd, input + kept, INPUT - kept, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (c->state != READY) complain("the connection ended while joining", "", 0);
        close_connection(c, true);
        return;
    }
    bench.run.bytes += (uint64_t)got;
    size_t length = kept + (size_t)got, used = 0;
    uint64_t now = now_us();
    if (c->state == UPGRADING) used = take_answer(c, input, length);
    if (c->state == JOINING || c->state == READY)
        used += bench.transport == WEBSOCKET ? take_frames(c, input + used, length - used, now)
                                             : take_chunks(c, input + used, length - used, now);
    if (c->state == CLOSED) return;
    if (used < length || kept) set_buffer(&c->rest, input + used, length - used);
}
