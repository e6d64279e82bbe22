/* The floor: what an epoll loop in C needs for the same sends, and nothing else. No Redis, no history, no protocol.
 *
 *   floor PORT PUBLISHING_PORT [join] [delay MILLISECONDS] [lose N] [repeat N]
 *
 * A WebSocket at /…/R is in room R; its text goes to all of the room, its pings are not answered. A line at the
 * publishing port goes to room 0. One send to each member per publication; with `join`, all publications that one turn
 * of the loop has read go to a member in one send. `delay` holds publications back,
 * `lose` forgets and `repeat` doubles every Nth: faults on which to try the load client. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sha1.h"

#define MOST_ROOMS 100000
#define INPUT (1u << 20)

enum kind { LISTENER, PUBLISHING_LISTENER, PUBLISHER, HANDSHAKE, CLIENT };

struct buffer {
    char *bytes;
    size_t length, room;
};

struct peer {
    enum kind kind;
    int fd;
    bool writing;
    struct room *room;
    uint32_t place; /* among the room's members */
    struct buffer in, out;
};

struct room {
    struct peer **members;
    uint32_t count, space;
    struct buffer waiting; /* frames of this turn, when they are joined */
    bool listed;
};

static int epoll;
static bool joining;
static unsigned long delay, lose, repeat, published;
static struct room rooms[MOST_ROOMS], *listed[MOST_ROOMS];
static uint32_t listed_count;
static char input[INPUT];

static void append(struct buffer *to, const void *bytes, size_t length) {
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2;
        to->bytes = realloc(to->bytes, to->room);
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void keep(struct buffer *what, size_t from) {
    what->length -= from;
    if (what->length == 0) {
        free(what->bytes);
        *what = (struct buffer){0};
    } else {
        memmove(what->bytes, what->bytes + from, what->length);
    }
}

static void watch(struct peer *p, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (p->writing ? EPOLLOUT : 0), .data.ptr = p};
    epoll_ctl(epoll, operation, p->fd, &event);
}

static void write_to(struct peer *p, const char *bytes, size_t length) {
    if (!p->writing) {
        ssize_t sent = send(p->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)length) return;
        if (sent < 0 && errno != EAGAIN) return; /* reading tells what happened */
        if (sent > 0) bytes += sent, length -= (size_t)sent;
        p->writing = true;
        watch(p, EPOLL_CTL_MOD);
    }
    append(&p->out, bytes, length);
}

static void flush(struct peer *p) {
    ssize_t sent = send(p->fd, p->out.bytes, p->out.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) keep(&p->out, (size_t)sent);
    if (p->out.length == 0) {
        p->writing = false;
        watch(p, EPOLL_CTL_MOD);
    }
}

static void send_room(struct room *room, const char *bytes, size_t length) {
    for (uint32_t i = 0; i < room->count; i++) write_to(room->members[i], bytes, length);
}

static void send_or_join(struct room *room, const char *text, size_t length) {
    uint8_t head[4] = {0x81, (uint8_t)(length < 126 ? length : 126), (uint8_t)(length >> 8), (uint8_t)length};
    append(&room->waiting, head, length < 126 ? 2 : 4);
    append(&room->waiting, text, length);
    if (!joining) {
        send_room(room, room->waiting.bytes, room->waiting.length);
        room->waiting.length = 0;
    } else if (!room->listed) {
        room->listed = true;
        listed[listed_count++] = room;
    }
}

static void publish(struct room *room, const char *text, size_t length) {
    published++;
    if (delay) usleep((useconds_t)delay * 1000);
    if (lose && published % lose == 0) return;
    send_or_join(room, text, length);
    if (repeat && published % repeat == 0) send_or_join(room, text, length);
}

static void end_turn(void) {
    for (uint32_t i = 0; i < listed_count; i++) {
        send_room(listed[i], listed[i]->waiting.bytes, listed[i]->waiting.length);
        listed[i]->waiting.length = 0;
        listed[i]->listed = false;
    }
    listed_count = 0;
}

static void end(struct peer *p) {
    if (p->room) {
        struct peer *other = p->room->members[--p->room->count];
        p->room->members[p->place] = other;
        other->place = p->place;
    }
    close(p->fd);
    free(p->in.bytes);
    free(p->out.bytes);
    free(p);
}

static void enter(struct peer *p, const char *path) {
    const char *space = strchr(path, ' '), *number = space;
    while (number > path && number[-1] >= '0' && number[-1] <= '9') number--;
    p->room = &rooms[strtoul(number, NULL, 10) % MOST_ROOMS];
    if (p->room->count == p->room->space) {
        p->room->space = p->room->space * 2 + 4;
        p->room->members = realloc(p->room->members, p->room->space * sizeof p);
    }
    p->place = p->room->count;
    p->room->members[p->room->count++] = p;
}

static void shake_hands(struct peer *p) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *key, text[128], answer[256], encoded[29];
    uint8_t digest[21] = {0};
    append(&p->in, "", 1);
    bool whole = strstr(p->in.bytes, "\r\n\r\n") && (key = strcasestr(p->in.bytes, "sec-websocket-key: "));
    p->in.length--;
    if (!whole) return;
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    sha1(text, digest);
    for (int i = 0; i < 7; i++) {
        uint32_t bits = (uint32_t)(digest[3 * i] << 16 | digest[3 * i + 1] << 8 | digest[3 * i + 2]);
        for (int j = 0; j < 4; j++) encoded[4 * i + j] = letters[bits >> (18 - 6 * j) & 63];
    }
    encoded[27] = '=', encoded[28] = 0;
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n", encoded);
    p->kind = CLIENT;
    enter(p, strchr(p->in.bytes, ' ') + 1);
    keep(&p->in, p->in.length);
    write_to(p, answer, (size_t)length);
}

/* Takes a client's whole frames: text is published, a close ends the connection. Returns false when it is to end. */
static bool take_frames(struct peer *p) {
    size_t at = 0;
    while (p->in.length - at >= 6) {
        uint8_t *head = (uint8_t *)p->in.bytes + at;
        size_t size = head[1] & 0x7f, start = 6;
        if (size == 126) {
            if (p->in.length - at < 8) break;
            size = (size_t)(head[2] << 8 | head[3]);
            start = 8;
        }
        if (p->in.length - at < start + size) break;
        for (size_t i = 0; i < size; i++) head[start + i] ^= head[start - 4 + (i & 3)];
        if ((head[0] & 15) == 8) return false;
        if ((head[0] & 15) == 1) publish(p->room, (char *)head + start, size);
        at += start + size;
    }
    keep(&p->in, at);
    return true;
}

static void take_lines(struct peer *p) {
    char *stop;
    size_t at = 0;
    while ((stop = memchr(p->in.bytes + at, '\n', p->in.length - at))) {
        publish(&rooms[0], p->in.bytes + at, (size_t)(stop - p->in.bytes) - at);
        at = (size_t)(stop - p->in.bytes) + 1;
    }
    if (at) keep(&p->in, at);
}

static struct peer *adopt(enum kind kind, int fd) {
    struct peer *p = calloc(1, sizeof *p);
    p->kind = kind;
    p->fd = fd;
    watch(p, EPOLL_CTL_ADD);
    return p;
}

static void listen_at(enum kind kind, const char *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0) {
        perror("listen");
        exit(1);
    }
    adopt(kind, fd);
}

static void accept_all(struct peer *p) {
    int fd, on = 1;
    while ((fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        adopt(p->kind == LISTENER ? HANDSHAKE : PUBLISHER, fd);
    }
}

static void on_event(struct peer *p, uint32_t events) {
    if (p->kind == LISTENER || p->kind == PUBLISHING_LISTENER) {
        accept_all(p);
        return;
    }
    if (events & EPOLLOUT) flush(p);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t got = recv(p->fd, input, INPUT, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        end(p);
        return;
    }
    append(&p->in, input, (size_t)got);
    if (p->kind == PUBLISHER) take_lines(p);
    else if (p->kind == HANDSHAKE) shake_hands(p);
    else if (!take_frames(p)) end(p);
}

int main(int count, char **words) {
    if (count < 3) return fputs("floor PORT PUBLISHING_PORT [join] [delay MILLISECONDS] [lose N] [repeat N]\n", stderr), 2;
    for (int i = 3; i < count; i++) {
        if (!strcmp(words[i], "join")) joining = true;
        unsigned long value = i + 1 < count ? strtoul(words[i + 1], NULL, 10) : 0;
        if (!strcmp(words[i], "delay")) delay = value;
        if (!strcmp(words[i], "lose")) lose = value;
        if (!strcmp(words[i], "repeat")) repeat = value;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    listen_at(LISTENER, words[1]);
    listen_at(PUBLISHING_LISTENER, words[2]);
    for (;;) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
        if (joining) end_turn();
    }
}
