/* What the parts of the load client share: connections, the run's figures, and who calls whom.
 *
 * One thread, one epoll loop. `load.c` takes commands and runs the loop, `connection.c` owns sockets and WebSocket
 * frames, `tls.c` what is under them, `http.c` requests, streaming responses and what clients say beside those,
 * `dialect.c` what servers say, `protobuf.c` the same in Protobuf, `template.c` what is put into ready-made texts,
 * `publish.c` the schedule, `churn.c` subscriptions that come and go, `tally.c` counting. A delivery is recognised by
 * a mark in its payload, of fixed width, so that it can be patched into ready-made bytes:
 *
 *     @t=<16 digits: microseconds of CLOCK_MONOTONIC>;<6: room>;<2: source>;<8: sequence number>@
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MARK_TIME 3
#define MARK_ROOM 20
#define MARK_SOURCE 27
#define MARK_NUMBER 30
#define MARK_LENGTH 39
#define MOST_SOURCES 16 /* a room of more members has one source, outside */
#define MOST_PORTS 8
#define MOST_EPOCH 32
#define MOST_SESSION 128

enum state { CONNECTING, SECURING, UPGRADING, JOINING, READY, CLOSED };
enum dialect { RAW, CENTRIFUGE, SOCKETIO, NATS, PROTOBUF };
enum transport { WEBSOCKET, STREAM, SSE };

struct buffer {
    char *bytes;
    size_t length, room;
};

struct connection {
    int fd;
    void *tls; /* NULL where there is none */
    enum state state;
    bool muted, writing; /* not read from; waiting until it can be written to */
    bool returning;      /* it was here before, and asks for what it missed */
    bool leaving;        /* of its churn: it has subscribed, and asked to unsubscribe */
    uint32_t visited;    /* the number of the channel that it came to by churn */
    uint64_t asked;      /* when, microseconds */
    uint16_t code;       /* of the server's close frame, 0 for none */
    uint32_t room, member;
    uint64_t began; /* microseconds */
    uint32_t *last; /* the newest sequence number, by source */
    char epoch[MOST_EPOCH]; /* where it stood when it subscribed */
    char session[MOST_SESSION], node[MOST_SESSION]; /* of a streaming response: whom it speaks to beside it */
    uint64_t offset;
    struct buffer rest, out;
};

struct histogram {
    uint64_t buckets[2560];
    uint64_t count, most;
    double sum;
};

struct figures { /* of one run */
    uint64_t published, expected, received, gaps, late, stale, acks, errors, dropped, bytes, last_delivery;
    uint64_t slip; /* the longest that a publication went out behind its time, microseconds */
    struct histogram latency;
};

struct bench {
    int epoll;
    enum dialect dialect;
    enum transport transport;
    uint16_t ports[MOST_PORTS];
    int port_count;
    bool secure;
    char *path, *hello, *again; /* template.c says what is put into them; `again`: of those that return */
    size_t hello_length;        /* it may be bytes */
    char *beside, *then;        /* the path of what is said beside a streaming response; what is said there first */
    uint32_t rooms, members, sources;
    struct connection **connections;
    uint32_t count, ready, opening, failed;
    uint32_t *readers; /* by room: connections that are ready and read */
    uint32_t *numbers; /* by room and source: the newest sequence number given out */
    struct histogram joining; /* from connect() to subscribed */
    uint64_t announced, last_announced; /* joins that were told to anybody; when, microseconds */
    struct figures run;
    char complaint[160]; /* the first thing that went wrong, for the report */
};

extern struct bench bench;

/* load.c */
void turn(uint64_t deadline);
void show_latency(const char *name, const struct histogram *h);

/* tally.c */
uint64_t now_us(void);
double cpu_seconds(void);
void record(struct histogram *into, uint64_t value);
uint64_t percentile(const struct histogram *of, double part);
void count_deliveries(struct connection *c, const char *bytes, size_t length, uint64_t now);
void write_mark(char *at, uint64_t time, uint32_t room, uint32_t source, uint32_t number);
void complain(const char *what, const char *bytes, size_t length);

/* connection.c */
void append(struct buffer *to, const void *bytes, size_t length);
void open_connection(int receive_buffer, bool muted);
void reopen_connection(struct connection *c);
void close_connection(struct connection *c, bool failed);
void on_connection(struct connection *c, uint32_t events);
void send_text(struct connection *c, const char *text, size_t length);
void flush_out(struct connection *c);
void become_ready(struct connection *c);
void unmute(struct connection *c);

/* tls.c */
bool tls_begin(struct connection *c);
int tls_handshake(struct connection *c);
ssize_t tls_read(struct connection *c, void *into, size_t most);
ssize_t tls_write(struct connection *c, const void *bytes, size_t length);
void tls_end(struct connection *c);

/* http.c */
void ask(struct connection *c);
size_t take_answer(struct connection *c, const char *bytes, size_t length);
size_t take_chunks(struct connection *c, const char *bytes, size_t length, uint64_t now);
void say_beside(struct connection *c, const char *text, size_t length);
bool is_beside(const void *what);
void on_beside(void *what, uint32_t events);

/* protobuf.c */
void on_protobuf(struct connection *c, const char *bytes, size_t length, uint64_t now);

/* template.c */
bool read_tokens(const char *path); /* one a line; false when there is none */
void fill(struct buffer *into, const char *template, size_t length, const struct connection *c);

/* churn.c */
void set_churn(const char *join, const char *leave, uint32_t channels);
void churn_all(double seconds, uint64_t most);
void on_answer(struct connection *c, bool refused);

/* dialect.c */
void on_open(struct connection *c);
void refuse_joining(struct connection *c, const char *text, size_t length);
void on_text(struct connection *c, const char *text, size_t length, uint64_t now);

/* publish.c */
void set_publisher(bool by_clients, uint16_t port, uint32_t links, const char *template, size_t length);
void greet_publisher(const char *bytes, size_t length);
void answers_are_awaited(bool awaited, bool batched);
bool publish(uint64_t intended);
void on_publisher(void *what, uint32_t events);
bool is_publisher(const void *what);

#endif
