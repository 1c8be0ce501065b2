/* Shipped calls in numbers: more than a link's buffer holds, and more answers than are remembered. */
#include "driver.h"

#define CALLS 60

static world w;
static char page[4001]; /* 60 of these are nearly four times what a link's buffer holds here */

static void open_small(uint32_t max_waiting)
{
    world_open(&w, 2);
    memset(page, 'x', 4000);
    for (int i = 0; i < 2; i++) {
        w.nodes[i].config.max_link_buffer = 65536;
        w.nodes[i].config.max_waiting = max_waiting;
        node_start(&w, i);
    }
    world_link_all(&w);
    world_pass(&w, 300000);
}

static void close_all(void)
{
    check(w.nodes[0].closes + w.nodes[1].closes == 0);
    world_close(&w);
    check_no_leak(&w);
}

/* Calls given before any output is taken. */
static uint64_t burst(int at, uint32_t method, const char *text, int count)
{
    uint64_t first = w.calls;
    tiny_args args = {.text = {text, (uint32_t)strlen(text)}};
    w.calls += (uint64_t)count;
    for (uint64_t call = first; call < w.calls; call++)
        glas_step(w.nodes[at].core, &(glas_input){.kind = GLAS_IN_CALL, .method = method, .args = &args, .call = call, .now = w.now, .timeout_us = 60000000});
    node_drain(&w, &w.nodes[at]);
    return first;
}

static int committed(uint64_t first, int count)
{
    int done = 0;
    for (int i = 0; i < count; i++) done += w.answers[first + (uint64_t)i].done && w.answers[first + (uint64_t)i].outcome == GLAS_COMMITTED;
    return done;
}

static int end_of(const wire *it, int index) { return it->ends[0] == index ? 0 : 1; }

static void test_many_requests(void)
{
    open_small(100);
    uint64_t first = burst(1, M_TAKE, page, CALLS);
    world_settle(&w);
    check(status_number(&w, 0, "waiting") == CALLS);
    world_cut(&w, 0, 1);
    call_ok(&w, 0, M_RATE, "", 99);
    world_link(&w, 1, 0);
    wire *it = world_wire(&w, 0, 1);
    world_deliver(&w, it, 1, SIZE_MAX); /* the HELLO, and then nothing: what is under way stays within the buffer */
    it->lag[1] = SIZE_MAX;
    world_pass(&w, 1000000);
    check(it->to[1].n > 16000 && it->to[1].n < 32000);
    it->lag[1] = 0;
    world_settle(&w);
    check(strstr(node_inspect(&w, 1, "state db.rate"), "\"value\":99") != NULL);
    for (int i = 0; i < CALLS; i++) call_ok(&w, 0, M_TICKET, "t", 0);
    check(committed(first, CALLS) == CALLS);
    close_all();
}

static void test_many_answers(void)
{
    open_small(100);
    uint64_t echoes = burst(1, M_ECHO, page, CALLS), first = burst(1, M_TAKE, "", 30);
    world_settle(&w);
    check(committed(echoes, CALLS) == CALLS && w.answers[echoes].text[0] == 'x');
    burst(0, M_TICKET, page, 30); /* all end in one turn */
    world_settle(&w);
    check(committed(first, 30) == 30);
    world_pass(&w, 300000);
    check(status_number(&w, 0, "waiting") == 0 && status_number(&w, 1, "shipped") == 0);
    close_all();
}

/* Calls whose answers find no room are not carried out before there is some, and not lost with the link. */
static void test_answers_wait(void)
{
    for (int cut = 0; cut < 2; cut++) {
        open_small(100);
        uint64_t first = burst(1, M_TAKE, "", CALLS);
        world_settle(&w);
        wire *it = world_wire(&w, 0, 1);
        it->lag[end_of(it, 1)] = SIZE_MAX;
        burst(0, M_TICKET, page, CALLS);
        world_pass(&w, 1000000);
        check(it->to[end_of(it, 1)].n < 40000 && status_number(&w, 0, "waiting") > CALLS / 2);
        it->lag[end_of(it, 1)] = 0;
        if (cut) world_cut(&w, 0, 1), world_settle(&w), check(status_number(&w, 0, "waiting") == 0), world_link(&w, 0, 1);
        world_settle(&w);
        check(committed(first, CALLS) == CALLS && status_number(&w, 0, "waiting") == 0); /* repeats too take room as there is */
        close_all();
    }
}

/* Some calls stay open; many others are answered, and their answers are forgotten: after a restart of the carrier too. */
static void test_open_calls_and_a_restart(void)
{
    static const uint32_t most[] = {32, 200};
    for (int i = 0; i < 2; i++) {
        int open = i == 0 ? 1 : 150;
        open_small(most[i]);
        uint64_t first = burst(1, M_TAKE, "", open);
        for (uint32_t k = 0; k < most[i] + 8; k++) call_ok(&w, 1, M_TITLE, "before", 0);
        node_stop(&w, 0);
        check(node_start(&w, 0)->load_message[0] == 0);
        world_link(&w, 1, 0);
        world_pass(&w, 300000);
        check(!w.answers[first].done);
        call_ok(&w, 1, M_TITLE, "after", 0);
        for (int k = 0; k < open; k++) call_ok(&w, 0, M_TICKET, "t", 0);
        check(committed(first, open) == open);
        close_all();
    }
}

/* The answer comes, but the link breaks before the carrier hears of that: it is told on the next. */
static void test_lost_dones(void)
{
    open_small(8);
    call_text(&w, 1, M_TAKE, "", 0, 60000000);
    for (int i = 0; i < 20; i++) {
        wire *it = world_wire(&w, 0, 1);
        it->lag[end_of(it, 1)] = SIZE_MAX;
        uint64_t call = call_text(&w, 1, M_TITLE, "t", 0, 60000000);
        world_settle(&w);
        it->lag[end_of(it, 0)] = SIZE_MAX;
        it->lag[end_of(it, 1)] = 0;
        world_settle(&w);
        check(w.answers[call].done && w.answers[call].outcome == GLAS_COMMITTED);
        world_cut(&w, 0, 1);
        world_link(&w, i % 2, 1 - i % 2);
        world_settle(&w);
    }
    close_all();
}

static void test_too_many_answers(void)
{
    open_small(8);
    node_stop(&w, 1);
    w.nodes[1].config.max_waiting = 100;
    node_start(&w, 1);
    world_link(&w, 1, 0);
    world_settle(&w);
    wire *it = world_wire(&w, 0, 1);
    it->lag[end_of(it, 1)] = SIZE_MAX;
    uint64_t first = burst(1, M_TITLE, "t", 12);
    world_settle(&w);
    it->lag[end_of(it, 1)] = 0;
    world_settle(&w);
    check(committed(first, 8) == 8 && committed(first, 12) == 8);
    check(w.answers[first + 8].reason == GLAS_WHY_BUSY && strstr(w.answers[first + 8].message, "too many answers wait here for shop1") != NULL);
    call_ok(&w, 1, M_TITLE, "t", 0);
    close_all();
}

/* More entries than the window are under way when a call is shipped, and a third mirror's entry, which shop1 has applied, rests on the
 * last of them. The request went before these, counting that entry, and both links waited for each other for ever. */
static void test_a_call_behind_the_window(void)
{
    static char visitor[30001];
    memset(visitor, 'x', 30000);
    world_open(&w, 3);
    for (int i = 0; i < 3; i++) {
        w.nodes[i].config.max_link_buffer = 16u << 20;
        w.nodes[i].config.max_log = w.nodes[i].config.max_heap = 256u << 20;
        w.nodes[i].config.silent_us = 10000000;
        node_start(&w, i);
    }
    world_link_all(&w);
    world_pass(&w, 300000);
    wire *it = world_wire(&w, 0, 1);
    int end = it->ends[0] == 0 ? 0 : 1;
    it->lag[end] = SIZE_MAX; /* shop1 to hq is slow for a moment */
    uint64_t call = 0;
    for (int i = 0; i < 320; i++) {
        visitor[0] = (char)('A' + i % 26);
        visitor[1] = (char)('A' + i / 26);
        call_ok(&w, 1, M_VISIT, visitor, 1);
        if (i == 160) call = call_text(&w, 1, M_TITLE, "x", 0, 60 * INT64_C(1000000));
    }
    call_ok(&w, 2, M_VISIT, "two", 1);
    world_settle(&w);
    it->lag[end] = 0;
    world_pass(&w, 5 * INT64_C(1000000));
    check(w.answers[call].done && w.answers[call].outcome == GLAS_COMMITTED);
    for (int i = 0; i < 3; i++) check(strstr(node_inspect(&w, i, "status"), "\"waits_for\":\"") == NULL && w.nodes[i].closes == 0);
    world_end(&w);
}

/* Calls of another mirror that all time out at once: their answers go as the link has room. */
static void test_many_timeouts(void)
{
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) {
        w.nodes[i].config.max_link_buffer = 65536;
        w.nodes[i].config.max_waiting = 2000;
        node_start(&w, i);
    }
    world_link_all(&w);
    world_pass(&w, 300000);
    uint64_t first = call_text(&w, 1, M_TAKE, "", 0, 5000000);
    for (int i = 1; i < 1800; i++) call_text(&w, 1, M_TAKE, "", 0, 5000000);
    world_settle(&w);
    check(status_number(&w, 0, "waiting") > 1000);
    world_pass(&w, 10000000);
    check(w.nodes[0].closes + w.nodes[1].closes == 0);
    for (uint64_t i = first; i < first + 1800; i++) check(w.answers[i].done);
    world_end(&w);
}

int main(void)
{
    run(test_a_call_behind_the_window);
    run(test_many_timeouts);
    run(test_many_requests);
    run(test_many_answers);
    run(test_answers_wait);
    run(test_open_calls_and_a_restart);
    run(test_lost_dones);
    run(test_too_many_answers);
    return 0;
}
