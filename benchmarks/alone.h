/* A lone mirror in memory that stands at every place, for drivers in C. */
#ifndef BENCH_ALONE_H
#define BENCH_ALONE_H

#include "drive.h"
#include "glas_module.h"

#define TIMEOUT_US 1000000
#define HEAP_LIMIT ((size_t)4 << 30)

static glas_core *core;

/* One input without a reply that matters, as the driver of a mirror gives it. */
static int32_t give(int32_t kind)
{
    glas_reply reply = {0};
    const glas_input input = {.kind = kind, .now = clock_us(), .reply = &reply};
    int32_t more = glas_step(core, &input);
    must(reply.outcome == GLAS_COMMITTED, "an input of the driver");
    return more;
}

static void drain(void)
{
    glas_output output;
    while (glas_poll(core, &output)) must(output.kind == GLAS_OUT_WAKE, "only timers come out of a lone mirror in memory");
}

/* Turns until nothing is left to do. */
static void settle_all(void)
{
    while (give(GLAS_IN_TURN) & GLAS_MORE) drain();
    drain();
}

static void open_alone(const glas_app *app, const char *name, uint64_t places)
{
    char error[256];
    const glas_mirror mirror = {{name, strlen(name)}, places};
    const glas_config config = {
        .mirrors = &mirror, .mirror_count = 1, .seed = 1, .durable = 0, .max_heap = HEAP_LIMIT, .max_text = 1 << 20,
        .max_log = 256 << 20, .max_link_buffer = 16 << 20, .max_waiting = 1000, .ping_us = 2000000, .silent_us = 10000000,
    };
    core = glas_open(app, &config, glas_module_allocator(), error, sizeof error);
    must(core != NULL, error);
    give(GLAS_IN_START);
    settle_all();
}

#endif
