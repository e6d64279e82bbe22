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

#define MOST_LINKS 10 /* each publishes into the room of its own number, which has one digit */
#define MOST_MARKS 128

struct link { /* a connection to the publishing endpoint */
    int fd;
    bool waits;     /* for the answer to its request */
    char kind;      /* of the line of Redis's answer that is being read: its first byte, or 0 between lines */
    uint64_t told;  /* the number in that line, so far */
    uint64_t bytes; /* of a string that are still to come, and are no lines */
    char *template;
    struct buffer out;
};

static struct {
    bool by_clients, awaited, batched, http;
    char *template;
    size_t length, marks[MOST_MARKS];
    uint32_t mark_count, turn, link_count;
    struct link links[MOST_LINKS];
} publisher;

bool is_publisher(const void *what) {
    return (const struct link *)what >= publisher.links && (const struct link *)what < publisher.links + MOST_LINKS;
}

static void watch(struct link *link) {
    struct epoll_event event = {.events = EPOLLIN | (link->out.length ? EPOLLOUT : 0), .data.ptr = link};
    epoll_ctl(bench.epoll, EPOLL_CTL_MOD, link->fd, &event);
}

static void reach(struct link *link, uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(link->fd, (struct sockaddr *)&to, sizeof to) < 0) {
        complain("the publishing endpoint cannot be reached", strerror(errno), strlen(strerror(errno)));
        bench.run.errors++;
    }
    int on = 1;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    epoll_ctl(bench.epoll, EPOLL_CTL_ADD, link->fd, &event);
}

static void hang_up(struct link *link) {
    if (link->fd >= 0) close(link->fd);
    link->fd = -1;
    link->waits = false;
    link->out.length = 0;
    link->kind = 0;
    link->bytes = 0;
}

/* A copy of the template for a room. */
static char *for_room(uint32_t room) {
    char *made = malloc(publisher.length + 1);
    size_t length = 0;
    for (size_t i = 0; i < publisher.length; i++) {
        if (publisher.template[i] == '%' && i + 1 < publisher.length && publisher.template[i + 1] == 'r') {
            made[length++] = (char)('0' + room);
            i++;
        } else {
            made[length++] = publisher.template[i];
        }
    }
    return made;
}

static void find_marks(const char *in, size_t length) {
    const char *at = in, *end = in + length;
    publisher.mark_count = 0;
    while (publisher.mark_count < MOST_MARKS && (at = memmem(at, (size_t)(end - at), "@t=", 3))) {
        publisher.marks[publisher.mark_count++] = (size_t)(at - in);
        at += MARK_LENGTH;
    }
}

void set_publisher(bool by_clients, uint16_t port, uint32_t links, const char *template, size_t length) {
    for (uint32_t i = 0; i < publisher.link_count; i++) {
        hang_up(&publisher.links[i]);
        free(publisher.links[i].template);
    }
    free(publisher.template);
    publisher.by_clients = by_clients;
    publisher.template = malloc(length);
    memcpy(publisher.template, template, length);
    publisher.length = length;
    publisher.link_count = by_clients ? 0 : links < MOST_LINKS ? links : MOST_LINKS;
    for (uint32_t i = 0; i < publisher.link_count; i++) {
        publisher.links[i] = (struct link){.fd = -1, .template = for_room(i)};
        reach(&publisher.links[i], port);
    }
    if (!by_clients)
        for (const char *p = template; (p = memmem(p, length - (size_t)(p - template), "%r", 2)); p += 2)
            publisher.length--; /* two characters become one digit */
    publisher.http = memmem(template, length, " HTTP/1.1\r\n", 11) != NULL;
    find_marks(by_clients ? publisher.template : publisher.links[0].template, publisher.length);
}

void answers_are_awaited(bool awaited, bool batched) {
    publisher.awaited = awaited;
    publisher.batched = batched;
}

/* All marks of a publication say the same; of a batch, each is a publication of its own. */
static void mark(char *text, uint64_t intended, uint32_t room, uint32_t source) {
    uint32_t *number = &bench.numbers[room * bench.sources + source], count = publisher.batched ? publisher.mark_count : 1;
    for (uint32_t i = 0; i < publisher.mark_count; i++) {
        if (i == 0 || publisher.batched) ++*number;
        write_mark(text + publisher.marks[i], intended, room, source, *number);
    }
    bench.run.published += count;
    bench.run.expected += (uint64_t)bench.readers[room] * count;
}

static void flush(struct link *link) {
    ssize_t sent = send(link->fd, link->out.bytes, link->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        complain("publishing", strerror(errno), strlen(strerror(errno)));
        bench.run.errors++;
        sent = (ssize_t)link->out.length;
    }
    if (sent > 0) {
        link->out.length -= (size_t)sent;
        memmove(link->out.bytes, link->out.bytes + sent, link->out.length);
    }
    watch(link);
}

void greet_publisher(const char *bytes, size_t length) {
    for (uint32_t i = 0; i < publisher.link_count && length; i++) {
        append(&publisher.links[i].out, bytes, length);
        flush(&publisher.links[i]);
    }
}

static bool publish_by_client(uint64_t intended) {
    struct connection *c = NULL;
    for (uint32_t tries = 0; tries < bench.count; tries++) {
        c = bench.connections[publisher.turn++ % bench.count];
        if (c->state == READY && !c->muted) break;
        c = NULL;
    }
    if (!c) return false;
    static struct buffer text;
    mark(publisher.template, intended, c->room, bench.sources == 1 ? 0 : c->member);
    fill(&text, publisher.template, publisher.length, c);
    send_text(c, text.bytes, text.length);
    return true;
}

/* The next link that may send, or NULL when all wait for answers. */
static struct link *free_link(void) {
    for (uint32_t tries = 0; tries < publisher.link_count; tries++) {
        struct link *link = &publisher.links[publisher.turn++ % publisher.link_count];
        if (link->fd >= 0 && !(publisher.awaited && link->waits)) return link;
    }
    return NULL;
}

/* Publish once; false when nobody is free to do it. */
bool publish(uint64_t intended) {
    uint64_t now = now_us();
    if (now > intended && now - intended > bench.run.slip) bench.run.slip = now - intended;
    if (publisher.by_clients) return publish_by_client(intended);
    struct link *link = free_link();
    if (!link) return false;
    mark(link->template, intended, (uint32_t)(link - publisher.links), 0);
    bool idle = link->out.length == 0;
    append(&link->out, link->template, publisher.length);
    link->waits = true;
    if (idle) flush(link);
    return true;
}

/* The first refusal in what Redis said, or NULL: a line that begins with `-` and is not within a string, which may begin
 * with anything. Lines and strings may end in a later part. */
static const char *refused(struct link *link, const char *said, const char *end) {
    const char *found = NULL;
    for (const char *at = said; at < end; at++) {
        if (link->bytes) {
            uint64_t rest = (uint64_t)(end - at), skipped = link->bytes < rest ? link->bytes : rest;
            link->bytes -= skipped;
            at += skipped - 1;
        } else if (*at == '\n') {
            if (link->kind == '$') link->bytes = link->told + 2;
            link->kind = 0;
        } else if (!link->kind) {
            link->kind = *at;
            link->told = 0;
            if (*at == '-' && !found) found = at;
        } else if (*at == '-') {
            link->kind = '_'; /* `$-1` is no string */
        } else if (*at >= '0' && *at <= '9') {
            link->told = link->told * 10 + (uint64_t)(*at - '0');
        }
    }
    return found;
}

/* HTTP says errors with a status that does not begin with 2, or in its body. */
static const char *refused_by_http(const char *answer) {
    for (const char *at = answer; (at = strstr(at, "HTTP/1.1 ")); at += 9)
        if (at[9] != '2') return at;
    return strstr(answer, "\"error\":");
}

void on_publisher(void *what, uint32_t events) {
    struct link *link = what;
    if (events & EPOLLOUT) flush(link);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    static char answer[65536];
    ssize_t got = recv(link->fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    if (got < 0) return;
    if (got == 0) {
        complain("the publishing endpoint went away", "", 0);
        bench.run.errors++;
        hang_up(link);
        return;
    }
    answer[got] = 0;
    link->waits = false;
    const char *refusal = publisher.http ? refused_by_http(answer) : refused(link, answer, answer + got);
    if (refusal) {
        complain("publishing was refused", refusal, strlen(refusal));
        bench.run.errors++;
    }
}
