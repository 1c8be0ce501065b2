/* Time that passes, and time that is set back; memory that is short for a moment. */
#include "driver.h"

static world w;

/* The clock is set back by an hour. A driver's timers go by another clock, so turns come all the same. */
static void set_back(void)
{
    w.now -= INT64_C(3600) * 1000000;
    for (int i = 0; i < w.count; i++) glas_step(w.nodes[i].core, &(glas_input){.kind = GLAS_IN_TURN, .now = w.now});
    for (int i = 0; i < w.count; i++) node_drain(&w, &w.nodes[i]);
}

/* A replica is at most as old as the program allows, whatever the clock of its mirror does. */
static void test_clock_set_back(void)
{
    world_begin(&w, 2);
    call_ok(&w, 0, M_RATE, "", 8);
    world_pass(&w, 600000);
    check(call_now(&w, 1, M_GET_RATE, "", 0)->outcome == GLAS_COMMITTED);
    world_cut(&w, 0, 1);
    set_back();
    world_pass(&w, 60 * INT64_C(1000000));
    check(call_now(&w, 1, M_GET_RATE, "", 0)->reason == GLAS_WHY_REFUSED);
    world_close(&w);
}

/* How old a replica is, is kept in terms of the driver's clock: it outlives the process that saw the clock set back. */
static void test_clock_set_back_and_restart(void)
{
    for (int snapshot = 0; snapshot < 2; snapshot++) {
        world_begin(&w, 2);
        call_ok(&w, 0, M_RATE, "", 8);
        world_pass(&w, 600000);
        set_back();
        world_pass(&w, 10 * INT64_C(1000000));
        if (snapshot) node_snapshot(&w, 1);
        node_sync(&w, 1);
        node_stop(&w, 1);
        world_pass(&w, 3600 * INT64_C(1000000) - 100000);
        node_start(&w, 1);
        check(call_now(&w, 1, M_GET_RATE, "", 0)->reason == GLAS_WHY_REFUSED);
        world_close(&w);
    }
}

/* A call's time is over when it is over, though the clock was set back meanwhile. */
static void test_deadline_when_set_back(void)
{
    world_open(&w, 1);
    w.mirrors[0].places = 7;
    node_start(&w, 0);
    world_settle(&w);
    uint64_t waits = call_text(&w, 0, M_PICK, "", 1, 5000000);
    set_back();
    world_pass(&w, 1000000);
    check(!w.answers[waits].done);
    world_pass(&w, 5000000);
    check(w.answers[waits].done && w.answers[waits].reason == GLAS_WHY_TIMEOUT);
    world_close(&w);
}

/* A step that ran out of memory runs again, though nothing that it reads changes. */
static void test_step_out_of_memory_runs_again(void)
{
    static const char text[] = "a text that is long enough to need a block of its own in the heap, and then some more";
    int failed = 1;
    for (int n = 0; failed; n++) {
        world_open(&w, 1);
        w.mirrors[0].places = 7;
        node_start(&w, 0);
        world_settle(&w);
        glas_reply reply;
        tiny_args args = {.text = {text, sizeof text - 1}};
        glas_step(w.nodes[0].core, &(glas_input){.kind = GLAS_IN_CALL, .now = w.now, .method = M_NOTE, .args = &args, .call = 4000, .reply = &reply});
        driver_fail_after = n;
        driver_fail_count = 1;
        glas_step(w.nodes[0].core, &(glas_input){.kind = GLAS_IN_TURN, .now = w.now});
        failed = driver_fail_count == 0;
        driver_fail_after = -1;
        driver_fail_count = 0;
        node_drain(&w, &w.nodes[0]);
        world_settle(&w);
        world_pass(&w, INT64_C(5) * 1000000);
        check(strcmp(node_inspect(&w, 0, "state db.sales"), "[]") == 0);
        world_close(&w);
    }
}

int main(void)
{
    run(test_clock_set_back);
    run(test_clock_set_back_and_restart);
    run(test_deadline_when_set_back);
    run(test_step_out_of_memory_runs_again);
    return 0;
}
