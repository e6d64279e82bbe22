/* The load client: takes commands on its input, one a line (`name key=value …`), answers each with a line of JSON.
 * Between commands it goes on reading and answering pings. Times in answers are microseconds unless named otherwise.
 *
 *   setup dialect=raw|centrifuge|socketio|nats|protobuf ports=1,2 path=HEX hello=HEX [again=HEX] rooms=R members=M
 *         sources=S [secure=1] [transport=stream|events beside=HEX [then=HEX]]
 *   publisher by=clients|port port=P [links=N] template=HEX [greeting=HEX] [awaited=1] [batched=1]
 *   connect count=N concurrency=C [receive_buffer=BYTES] [muted=1] [timeout=SECONDS]
 *   run seconds=S rate=PER_SECOND | window=PUBLICATIONS [publications=MOST] [drain=SECONDS]
 *   churn seconds=S [cycles=MOST] channels=N join=HEX leave=HEX
 *   drop | return concurrency=C [timeout=SECONDS]   all but each room's first member go, and come back
 *   settle quiet=SECONDS                            reads on until nothing has come for so long
 *   unmute | status | disconnect | quit
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

struct bench bench;
static char *line;
static bool commanded;

/* One turn of the loop; waits at most until `deadline` (microseconds). */
void turn(uint64_t deadline) {
    struct epoll_event events[1024];
    uint64_t now = now_us(), left = deadline > now ? deadline - now : 0;
    struct timespec wait = {(time_t)(left / 1000000), (long)(left % 1000000) * 1000};
    int count = epoll_pwait2(bench.epoll, events, 1024, &wait, NULL);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            commanded = true;
        else if (is_publisher(events[i].data.ptr))
            on_publisher(events[i].data.ptr, events[i].events);
        else if (is_beside(events[i].data.ptr))
            on_beside(events[i].data.ptr, events[i].events);
        else
            on_connection(events[i].data.ptr, events[i].events);
    }
}

static const char *option(const char *name, const char *otherwise) {
    size_t size = strlen(name);
    for (const char *p = line; (p = strchr(p, ' ')); p++)
        if (strncmp(p + 1, name, size) == 0 && p[size + 1] == '=') return p + size + 2;
    return otherwise;
}

static double number(const char *name, double otherwise) {
    const char *found = option(name, NULL);
    return found ? atof(found) : otherwise;
}

static char *bytes_of(const char *name, size_t *length) {
    const char *hex = option(name, "");
    size_t size = strcspn(hex, " \n") / 2;
    char *made = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        unsigned value;
        sscanf(hex + 2 * i, "%2x", &value);
        made[i] = (char)value;
    }
    made[size] = 0;
    if (length) *length = size;
    return made;
}

static void setup(void) {
    const char *dialect = option("dialect", "raw");
    bench.dialect = *dialect == 'c' ? CENTRIFUGE : *dialect == 's' ? SOCKETIO : *dialect == 'n' ? NATS
                    : *dialect == 'p' ? PROTOBUF : RAW;
    const char *transport = option("transport", "websocket");
    bench.transport = *transport == 's' ? STREAM : *transport == 'e' ? SSE : WEBSOCKET;
    bench.path = bytes_of("path", NULL);
    bench.hello = bytes_of("hello", &bench.hello_length);
    bench.beside = bytes_of("beside", NULL);
    bench.then = bytes_of("then", NULL);
    bench.again = bytes_of("again", NULL);
    bench.secure = number("secure", 0) != 0;
    bench.rooms = (uint32_t)number("rooms", 1);
    bench.members = (uint32_t)number("members", 1e9);
    bench.sources = (uint32_t)number("sources", 1);
    bench.readers = calloc(bench.rooms, sizeof *bench.readers);
    bench.numbers = calloc((size_t)bench.rooms * bench.sources, sizeof *bench.numbers);
    for (const char *p = option("ports", ""); *p >= '0' && *p <= '9' && bench.port_count < MOST_PORTS;) {
        bench.ports[bench.port_count++] = (uint16_t)strtoul(p, (char **)&p, 10);
        if (*p == ',') p++;
    }
    puts("{}");
}

static void take_tokens(void) {
    char *path = bytes_of("path", NULL);
    printf("{\"taken\": %s}\n", read_tokens(path) ? "true" : "false");
    free(path);
}

static void publisher(void) {
    size_t length, greeted;
    char *template = bytes_of("template", &length), *greeting = bytes_of("greeting", &greeted);
    bench.run = (struct figures){0};
    set_publisher(*option("by", "port") == 'c', (uint16_t)number("port", 0), (uint32_t)number("links", 1),
                  template, length);
    answers_are_awaited(number("awaited", 0) != 0, number("batched", 0) != 0);
    greet_publisher(greeting, greeted);
    free(template);
    free(greeting);
    printf("{\"errors\": %" PRIu64 "}\n", bench.run.errors);
}

void show_latency(const char *name, const struct histogram *h) {
    printf("\"%s\": {\"count\": %" PRIu64 ", \"mean\": %.0f, \"p50\": %" PRIu64 ", \"p90\": %" PRIu64
           ", \"p99\": %" PRIu64 ", \"p999\": %" PRIu64 ", \"max\": %" PRIu64 "}, ",
           name, h->count, h->count ? h->sum / (double)h->count : 0, percentile(h, .5), percentile(h, .9),
           percentile(h, .99), percentile(h, .999), h->most);
}

static void connect_all(void) {
    uint32_t wanted = (uint32_t)number("count", 1), concurrency = (uint32_t)number("concurrency", 64), begun = 0;
    int receive_buffer = (int)number("receive_buffer", 0);
    bool muted = number("muted", 0) != 0;
    uint64_t start = now_us(), deadline = start + (uint64_t)(number("timeout", 60) * 1e6);
    double cpu = cpu_seconds();
    uint32_t ready = bench.ready;
    bench.joining = (struct histogram){0};
    bench.failed = 0;
    while ((begun < wanted || bench.opening) && now_us() < deadline) {
        while (begun < wanted && bench.opening < concurrency) {
            open_connection(receive_buffer, muted);
            begun++;
        }
        turn(now_us() + 100000);
    }
    double seconds = (double)(now_us() - start) / 1e6;
    printf("{\"begun\": %u, \"ready\": %u, \"failed\": %u, \"unfinished\": %u, \"seconds\": %.6f, ", begun,
           bench.ready - ready, bench.failed, bench.opening, seconds);
    show_latency("joining", &bench.joining);
    printf("\"client_cpu\": %.6f, \"complaint\": \"%s\"}\n", cpu_seconds() - cpu, bench.complaint);
}

/* Each room's first member stays; the others are closed, and keep where they stood. */
static void drop(void) {
    uint32_t dropped = 0;
    for (uint32_t i = 0; i < bench.count; i++)
        if (bench.connections[i]->member > 0 && bench.connections[i]->state == READY) {
            close_connection(bench.connections[i], false);
            dropped++;
        }
    printf("{\"dropped\": %u}\n", dropped);
}

static void return_all(void) {
    uint32_t concurrency = (uint32_t)number("concurrency", 64), next = 0, ready = bench.ready, begun = 0;
    uint64_t start = now_us(), deadline = start + (uint64_t)(number("timeout", 60) * 1e6);
    double cpu = cpu_seconds();
    bench.joining = (struct histogram){0};
    bench.failed = 0;
    bench.run = (struct figures){0};
    while ((next < bench.count || bench.opening) && now_us() < deadline) {
        for (; next < bench.count && bench.opening < concurrency; next++)
            if (bench.connections[next]->state == CLOSED) {
                reopen_connection(bench.connections[next]);
                begun++;
            }
        turn(now_us() + 100000);
    }
    struct figures *r = &bench.run;
    printf("{\"begun\": %u, \"ready\": %u, \"failed\": %u, \"unfinished\": %u, \"received\": %" PRIu64
           ", \"gaps\": %" PRIu64 ", \"late\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, ",
           begun, bench.ready - ready, bench.failed, bench.opening, r->received, r->gaps, r->late, r->errors,
           (double)(now_us() - start) / 1e6);
    show_latency("joining", &bench.joining);
    printf("\"client_cpu\": %.6f, \"complaint\": \"%s\"}\n", cpu_seconds() - cpu, bench.complaint);
}

static void churn(void) {
    char *join = bytes_of("join", NULL), *leave = bytes_of("leave", NULL);
    set_churn(join, leave, (uint32_t)number("channels", 1000));
    free(join);
    free(leave);
    churn_all(number("seconds", 1), (uint64_t)number("cycles", 0));
}

static void settle(void) {
    uint64_t quiet = (uint64_t)(number("quiet", 1) * 1e6), bytes = bench.run.bytes, last = now_us();
    while (now_us() - last < quiet) {
        turn(now_us() + 20000);
        if (bench.run.bytes != bytes) {
            bytes = bench.run.bytes;
            last = now_us();
        }
    }
    printf("{\"announced\": %" PRIu64 ", \"last_announced\": %" PRIu64 ", \"now\": %" PRIu64 "}\n", bench.announced,
           bench.last_announced, now_us());
}

static void forget_earlier_runs(void) {
    bench.run = (struct figures){0};
    for (uint32_t i = 0; i < bench.count; i++) {
        struct connection *c = bench.connections[i];
        memcpy(c->last, bench.numbers + (size_t)c->room * bench.sources, bench.sources * sizeof *c->last);
    }
}

/* Publications that wait for their deliveries; the mean size of a room stands for each room's. */
static double outstanding(void) {
    uint64_t missing = bench.run.expected - bench.run.received;
    return bench.run.published ? (double)missing * (double)bench.run.published / (double)bench.run.expected : 0;
}

static void run(void) {
    double rate = number("rate", 0), window = number("window", 0), cpu = cpu_seconds();
    uint64_t most = (uint64_t)number("publications", 0);
    forget_earlier_runs();
    uint64_t start = now_us(), end = start + (uint64_t)(number("seconds", 1) * 1e6), due = start, progress = start;
    uint64_t drain = (uint64_t)(number("drain", 3) * 1e6), seen = 0, begun = 0;
    for (uint64_t now = start;; now = now_us()) {
        if (bench.run.received != seen || bench.run.published != begun) {
            seen = bench.run.received;
            begun = bench.run.published;
            progress = now;
        }
        if (most && bench.run.published >= most && now < end) end = now; /* that many, however long they took */
        bool done = window > 0 || due >= end || (most && bench.run.published >= most);
        bool over = now >= end && (done || now - progress > drain); /* behind its time, with nobody left to publish */
        if (over && (bench.run.received >= bench.run.expected || now - progress > drain)) break;
        if (window > 0) {
            if (now - progress > drain) break; /* something was lost: the window never opens again */
            while (now < end && outstanding() < window && bench.run.published - begun < window &&
                   (!most || bench.run.published < most) && publish(now_us()))
                continue;
            turn(now + 10000);
        } else {
            while (due <= now && due < end && (!most || bench.run.published < most)) {
                if (!publish(due)) break;
                due = start + (uint64_t)((double)bench.run.published * 1e6 / rate);
            }
            turn(due < end ? due : now + 10000);
        }
    }
    struct figures *r = &bench.run;
    uint64_t stop = r->last_delivery > start ? r->last_delivery : now_us();
    printf("{\"published\": %" PRIu64 ", \"expected\": %" PRIu64 ", \"received\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"gaps\": %" PRIu64 ", \"late\": %" PRIu64 ", \"acks\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"dropped\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"slip\": %" PRIu64 ", \"seconds\": %.6f, ",
           r->published, r->expected, r->received, r->expected - r->received, r->gaps, r->late, r->acks, r->errors,
           r->dropped, r->bytes, r->slip, (double)(stop - start) / 1e6);
    show_latency("latency", &r->latency);
    printf("\"client_cpu\": %.6f, \"complaint\": \"%s\"}\n", cpu_seconds() - cpu, bench.complaint);
}

/* Reads what the muted connections left lying until they end or nothing comes any more. */
static void unmute_all(void) {
    uint64_t bytes = bench.run.bytes, progress = now_us();
    uint32_t left = 0, were = 0;
    for (uint32_t i = 0; i < bench.count; i++) unmute(bench.connections[i]);
    do {
        uint64_t before = bench.run.bytes;
        turn(now_us() + 50000);
        if (bench.run.bytes != before) progress = now_us();
        left = were = 0;
        for (uint32_t i = 0; i < bench.count; i++) {
            were += bench.connections[i]->muted;
            left += bench.connections[i]->muted && bench.connections[i]->state == READY;
        }
    } while (left && now_us() - progress < 2000000);
    printf("{\"muted\": %u, \"still_open\": %u, \"bytes\": %" PRIu64 ", \"codes\": [", were, left,
           bench.run.bytes - bytes);
    const char *comma = "";
    for (uint32_t i = 0; i < bench.count; i++)
        if (bench.connections[i]->muted) {
            printf("%s%u", comma, bench.connections[i]->code);
            comma = ", ";
        }
    puts("]}");
}

static void status(void) {
    uint32_t muted_open = 0;
    for (uint32_t i = 0; i < bench.count; i++)
        muted_open += bench.connections[i]->muted && bench.connections[i]->state == READY;
    printf("{\"ready\": %u, \"muted_open\": %u, \"dropped\": %" PRIu64 "}\n", bench.ready, muted_open,
           bench.run.dropped);
}

static void disconnect_all(void) {
    for (uint32_t i = 0; i < bench.count; i++) {
        close_connection(bench.connections[i], false);
        free(bench.connections[i]->last);
        free(bench.connections[i]);
    }
    bench.count = 0;
    puts("{}");
}

static bool is_command(const char *name) {
    size_t size = strlen(name);
    return strncmp(line, name, size) == 0 && strchr(" \n", line[size]);
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(bench.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &commands);
    setvbuf(stdin, NULL, _IONBF, 0); /* a line that waits in a buffer of ours would not wake the loop */
    size_t room = 0;
    for (;;) {
        commanded = false;
        while (!commanded) turn(now_us() + 1000000);
        if (getline(&line, &room, stdin) < 0 || is_command("quit")) return 0;
        bench.complaint[0] = 0;
        if (is_command("setup")) setup();
        else if (is_command("tokens")) take_tokens();
        else if (is_command("publisher")) publisher();
        else if (is_command("connect")) connect_all();
        else if (is_command("run")) run();
        else if (is_command("churn")) churn();
        else if (is_command("drop")) drop();
        else if (is_command("return")) return_all();
        else if (is_command("settle")) settle();
        else if (is_command("unmute")) unmute_all();
        else if (is_command("status")) status();
        else if (is_command("disconnect")) disconnect_all();
        else puts("{\"complaint\": \"no such command\"}");
        fflush(stdout);
    }
}
