/* Churn: each client subscribes to one more channel, waits for the answer, unsubscribes, waits, and goes on to the next.
 * The channels are taken in turn, so that most of them begin with a subscriber and end with him. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static struct {
    bool active;
    char *join, *leave;
    uint32_t channels, number, open; /* in turn; how many were given out; clients that wait for an answer */
    uint64_t end, most, cycles, refused;
    struct histogram took; /* from asking to be subscribed to being unsubscribed */
} churn;

void set_churn(const char *join, const char *leave, uint32_t channels) {
    free(churn.join);
    free(churn.leave);
    churn.join = strdup(join);
    churn.leave = strdup(leave);
    churn.channels = channels;
}

static void say(struct connection *c, const char *text) {
    static struct buffer filled;
    fill(&filled, text, strlen(text), c);
    send_text(c, filled.bytes, filled.length);
}

static void visit(struct connection *c) {
    uint64_t now = now_us();
    if (now >= churn.end || (churn.most && churn.number >= churn.most)) return;
    c->visited = churn.number++ % churn.channels;
    c->leaving = false;
    c->asked = now;
    churn.open++;
    say(c, churn.join);
}

void on_answer(struct connection *c, bool refused) {
    if (!churn.active) return;
    churn.refused += refused;
    if (!c->leaving) {
        c->leaving = true;
        say(c, churn.leave);
        return;
    }
    churn.open--;
    churn.cycles++;
    record(&churn.took, now_us() - c->asked);
    visit(c);
}

void churn_all(double seconds, uint64_t most) {
    uint64_t start = now_us(), patience = 30000000;
    double cpu = cpu_seconds();
    churn.active = true;
    churn.number = churn.open = 0;
    churn.cycles = churn.refused = 0;
    churn.took = (struct histogram){0};
    churn.most = most;
    churn.end = start + (uint64_t)(seconds * 1e6);
    bench.run = (struct figures){0};
    for (uint32_t i = 0; i < bench.count; i++)
        if (bench.connections[i]->state == READY) visit(bench.connections[i]);
    while (churn.open && now_us() < churn.end + patience) turn(now_us() + 10000);
    churn.active = false;
    printf("{\"cycles\": %" PRIu64 ", \"unanswered\": %u, \"refused\": %" PRIu64 ", \"dropped\": %" PRIu64
           ", \"seconds\": %.6f, ",
           churn.cycles, churn.open, churn.refused, bench.run.dropped, (double)(now_us() - start) / 1e6);
    show_latency("took", &churn.took);
    printf("\"client_cpu\": %.6f, \"complaint\": \"%s\"}\n", cpu_seconds() - cpu, bench.complaint);
}
