/* Publishing: from ready-made bytes whose marks are patched, over one connection to a publishing endpoint (Redis, HTTP,
 * or lines), or by the clients themselves in turn. Numbers each publication by its room and source. */
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

static struct {
    bool by_clients;
    int fd;
    char *template;
    size_t length, marks[8];
    int mark_count;
    uint32_t turn, command;
    struct buffer out;
} publisher = {.fd = -1};

bool is_publisher(const void *what) { return what == &publisher; }

static void watch(void) {
    struct epoll_event event = {.events = EPOLLIN | (publisher.out.length ? EPOLLOUT : 0), .data.ptr = &publisher};
    epoll_ctl(bench.epoll, EPOLL_CTL_MOD, publisher.fd, &event);
}

static void reach(uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    publisher.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(publisher.fd, (struct sockaddr *)&to, sizeof to) < 0) {
        complain("the publishing endpoint cannot be reached", strerror(errno), strlen(strerror(errno)));
        bench.run.errors++;
    }
    int on = 1;
    setsockopt(publisher.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &publisher};
    epoll_ctl(bench.epoll, EPOLL_CTL_ADD, publisher.fd, &event);
}

void set_publisher(bool by_clients, uint16_t port, const char *template, size_t length) {
    if (publisher.fd >= 0) close(publisher.fd);
    free(publisher.template);
    publisher.fd = -1;
    publisher.by_clients = by_clients;
    publisher.template = malloc(length);
    memcpy(publisher.template, template, length);
    publisher.length = length;
    publisher.mark_count = 0;
    publisher.out.length = 0;
    publisher.command = 100;
    const char *at = publisher.template, *end = at + length;
    while (publisher.mark_count < 8 && (at = memmem(at, (size_t)(end - at), "@t=", 3))) {
        publisher.marks[publisher.mark_count++] = (size_t)(at - publisher.template);
        at += MARK_LENGTH;
    }
    if (!by_clients) reach(port);
}

static void mark(uint64_t intended, uint32_t room, uint32_t source) {
    uint32_t number = ++bench.numbers[room * bench.sources + source];
    for (int i = 0; i < publisher.mark_count; i++)
        write_mark(publisher.template + publisher.marks[i], intended, room, source, number);
    bench.run.published++;
    bench.run.expected += bench.readers[room];
}

static void flush(void) {
    ssize_t sent = send(publisher.fd, publisher.out.bytes, publisher.out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        complain("publishing", strerror(errno), strlen(strerror(errno)));
        bench.run.errors++;
        sent = (ssize_t)publisher.out.length;
    }
    if (sent > 0) {
        publisher.out.length -= (size_t)sent;
        memmove(publisher.out.bytes, publisher.out.bytes + sent, publisher.out.length);
    }
    watch();
}

void greet_publisher(const char *bytes, size_t length) {
    if (length == 0) return;
    append(&publisher.out, bytes, length);
    flush();
}

/* %r becomes the room, %i a fresh command id. */
static void publish_by_client(uint64_t intended) {
    struct connection *c = NULL;
    for (uint32_t tries = 0; tries < bench.count; tries++) {
        c = bench.connections[publisher.turn++ % bench.count];
        if (c->state == READY && !c->muted) break;
        c = NULL;
    }
    if (!c) return;
    mark(intended, c->room, c->member);
    static char text[65536];
    size_t length = 0;
    for (size_t i = 0; i < publisher.length && length < sizeof text - 16; i++) {
        char kind = publisher.template[i] == '%' && i + 1 < publisher.length ? publisher.template[i + 1] : 0;
        if (kind == 'r' || kind == 'i') {
            uint32_t value = kind == 'r' ? c->room : ++publisher.command;
            length += (size_t)snprintf(text + length, 12, "%u", value);
            i++;
        } else {
            text[length++] = publisher.template[i];
        }
    }
    send_text(c, text, length);
}

void publish(uint64_t intended) {
    uint64_t now = now_us();
    if (now > intended && now - intended > bench.run.slip) bench.run.slip = now - intended;
    if (publisher.by_clients) {
        publish_by_client(intended);
        return;
    }
    mark(intended, 0, 0);
    bool idle = publisher.out.length == 0;
    append(&publisher.out, publisher.template, publisher.length);
    if (idle) flush();
}

/* Redis says errors with a line that begins with `-`, HTTP with a status that does not begin with 2. */
void on_publisher(uint32_t events) {
    if (events & EPOLLOUT) flush();
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    static char answer[65536];
    ssize_t got = recv(publisher.fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    if (got < 0) return;
    if (got == 0) {
        complain("the publishing endpoint went away", "", 0);
        bench.run.errors++;
        close(publisher.fd);
        publisher.fd = -1;
        return;
    }
    answer[got] = 0;
    if (answer[0] == '-' || strstr(answer, "\n-")) {
        complain("publishing was refused", answer, (size_t)got);
        bench.run.errors++;
    }
    for (const char *at = answer; (at = strstr(at, "HTTP/1.1 ")); at += 9)
        if (at[9] != '2') {
            complain("publishing was refused", at, strlen(at));
            bench.run.errors++;
        }
}
