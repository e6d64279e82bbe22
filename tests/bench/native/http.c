/* HTTP of the client's side: the request that a connection begins with, the chunks of a streaming response, and what a
 * client says beside it: POSTs with its session, over a few connections that all share, as a balancer's are. A chunk is
 * taken whole, and must have whole lines: servers write one for each message. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define LINKS 8
#define MOST_HEAD 8192

static struct link {
    int fd; /* 0: not connected yet */
    struct buffer out, in;
} links[LINKS];
static uint32_t turn_of;

static int request_head(char *head, const struct connection *c, const struct buffer *path, size_t body) {
    uint16_t port = bench.ports[0];
    const char *scheme = c->tls ? "https" : "http";
    int size = snprintf(head, MOST_HEAD, "%s %.*s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nOrigin: %s://127.0.0.1:%u\r\n",
                        bench.transport == STREAM ? "POST" : "GET", (int)path->length, path->bytes, port, scheme, port);
    char *rest = head + size;
    size_t room = MOST_HEAD - (size_t)size;
    if (bench.transport == WEBSOCKET)
        size += snprintf(rest, room, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    else if (bench.transport == SSE)
        size += snprintf(rest, room, "Accept: text/event-stream\r\n\r\n");
    else
        size += snprintf(rest, room, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body);
    return size;
}

/* Ask for what the connection is to become; a POST has the first command in it. */
void ask(struct connection *c) {
    static struct buffer path, body;
    static char head[MOST_HEAD];
    fill(&path, bench.path, strlen(bench.path), c);
    body.length = 0;
    if (bench.transport == STREAM) fill(&body, bench.hello, bench.hello_length, c);
    int size = request_head(head, c, &path, body.length);
    append(&c->out, head, (size_t)size);
    if (body.length) append(&c->out, body.bytes, body.length);
    flush_out(c);
}

size_t take_answer(struct connection *c, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    if (length < 12 || memcmp(bytes + 9, bench.transport == WEBSOCKET ? "101" : "200", 3) != 0) {
        complain("the handshake was answered with", bytes, length);
        close_connection(c, true);
        return length;
    }
    c->state = JOINING;
    on_open(c);
    return (size_t)(end - bytes) + 4;
}

/* The data of events; comments and other fields are skipped. */
static void on_events(struct connection *c, const char *text, size_t length, uint64_t now) {
    const char *end = text + length;
    while (text < end && c->state != CLOSED) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop) stop = end;
        size_t size = (size_t)(stop - text);
        if (size > 5 && memcmp(text, "data:", 5) == 0) {
            size_t skip = text[5] == ' ' ? 6 : 5;
            on_text(c, text + skip, size - skip, now);
        }
        text = stop + 1;
    }
}

size_t take_chunks(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    size_t at = 0;
    while (c->state != CLOSED) {
        const char *line = bytes + at, *stop = memmem(line, length - at, "\r\n", 2);
        if (!stop) break;
        size_t size = strtoul(line, NULL, 16), start = (size_t)(stop - bytes) + 2;
        if (size == 0) { /* the last one */
            close_connection(c, true);
            return length;
        }
        if (length - start < size + 2) break;
        const char *data = bytes + start;
        if (data[size - 1] != '\n') {
            complain("a chunk without whole lines", data, size);
            bench.run.errors++;
        }
        if (bench.transport == SSE)
            on_events(c, data, size, now);
        else
            on_text(c, data, size, now);
        at = start + size + 2;
    }
    return at;
}

static bool reach(struct link *link) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bench.ports[(link - links) % bench.port_count])};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(link->fd, (struct sockaddr *)&to, sizeof to) < 0) {
        complain("what is said beside", strerror(errno), strlen(strerror(errno)));
        close(link->fd);
        link->fd = 0;
        return false;
    }
    int on = 1;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    epoll_ctl(bench.epoll, EPOLL_CTL_ADD, link->fd, &event);
    link->out.length = link->in.length = 0;
    return true;
}

static void write_out(struct link *link) {
    ssize_t sent = send(link->fd, link->out.bytes, link->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
        link->out.length -= (size_t)sent;
        memmove(link->out.bytes, link->out.bytes + sent, link->out.length);
    }
    struct epoll_event event = {.events = EPOLLIN | (link->out.length ? EPOLLOUT : 0), .data.ptr = link};
    epoll_ctl(bench.epoll, EPOLL_CTL_MOD, link->fd, &event);
}

/* Have the server take a command of a client that it streams to. */
void say_beside(struct connection *c, const char *text, size_t length) {
    static struct buffer body;
    char head[512];
    struct link *link = &links[turn_of++ % LINKS];
    if (!link->fd && !reach(link)) return;
    body.length = 0;
    int size = snprintf(head, sizeof head, "{\"session\":\"%s\",\"node\":\"%s\",\"data\":\"", c->session, c->node);
    append(&body, head, (size_t)size);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"' || text[i] == '\\') append(&body, "\\", 1);
        append(&body, text[i] == '\n' ? "\\n" : text + i, text[i] == '\n' ? 2 : 1);
    }
    append(&body, "\"}", 2);
    size = snprintf(head, sizeof head,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nOrigin: http://127.0.0.1:%u\r\n"
                    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                    bench.beside, bench.ports[0], bench.ports[0], body.length);
    append(&link->out, head, (size_t)size);
    append(&link->out, body.bytes, body.length);
    write_out(link);
}

bool is_beside(const void *what) {
    return (const struct link *)what >= links && (const struct link *)what < links + LINKS;
}

/* Answers have nothing but their status to say. */
void on_beside(void *what, uint32_t events) {
    struct link *link = what;
    static char answer[65536];
    if (events & EPOLLOUT) write_out(link);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(link->fd, answer, sizeof answer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { /* an idle connection may be closed; the next command opens it again */
        close(link->fd);
        link->fd = 0;
        return;
    }
    append(&link->in, answer, (size_t)got);
    const char *at = link->in.bytes, *end = at + link->in.length, *next;
    while (end - at >= 12 && (next = memmem(at, (size_t)(end - at), "HTTP/1.1 ", 9)) && end - next >= 12) {
        if (next[9] != '2') {
            complain("what was said beside was answered with", next, (size_t)(end - next));
            bench.run.errors++;
        }
        at = next + 12;
    }
    size_t left = (size_t)(end - at) < 12 ? (size_t)(end - at) : 11; /* the rest may begin a status */
    memmove(link->in.bytes, end - left, left);
    link->in.length = left;
}
