/* The log of own entries: what it keeps for mirrors that are away, what that costs, and what of acknowledgements a restart remembers. */
#include "driver.h"

#define RECORD_ACKED 7

static world w;

static void close_all(void)
{
    for (int i = 0; i < w.count; i++) check(w.nodes[i].closes == 0);
    world_close(&w);
    check_no_leak(&w);
}

static void heal(void)
{
    world_link_all(&w);
    world_pass(&w, 400000);
    for (int i = 0; i < w.count; i++) check(status_number(&w, i, "log_entries") == 0 && status_number(&w, i, "log_bytes") == 0);
}

static void restart(int index)
{
    node_stop(&w, index);
    check(node_start(&w, index)->load_message[0] == 0);
}

static bool shows(int index, const char *state, const char *part)
{
    char what[60];
    snprintf(what, sizeof what, "state %s", state);
    return strstr(node_inspect(&w, index, what), part) != NULL;
}

static void check_revenue(int64_t expected)
{
    char part[60];
    snprintf(part, sizeof part, "\"value\":%lld}", (long long)expected);
    for (int i = 0; i < w.count; i++) check(shows(i, "db.revenue", part));
}

/* A snapshot on disk, and no journal before it. */
static void forget_journal(int index)
{
    node_snapshot(&w, index);
    check(w.nodes[index].journal.n == 0);
}

/* ------------------------------------------------------------------ what no other mirror needs */

static void test_local_only(void)
{
    driver_max_calls = 40000;
    world_open(&w, 2);
    w.nodes[1].config.max_heap = 200000;
    w.nodes[1].config.max_log = 4096;
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link_all(&w);
    world_pass(&w, 300000);
    world_cut(&w, 0, 1);
    uint64_t before = status_number(&w, 1, "memory");
    for (int i = 0; i < 20000; i++) {
        call_ok(&w, 1, M_STOCK, "shop1/tea", i);
        if (i % 5000 == 0) forget_journal(1);
    }
    check(status_number(&w, 1, "memory") < before + 8192 && status_number(&w, 1, "log_bytes") < 100);
    check(status_number(&w, 1, "log_entries") >= 20000);
    call_ok(&w, 1, M_EARN, "", 1);
    restart(1); /* by a snapshot within the run, and a journal that goes on with it */
    check(status_number(&w, 1, "memory") < before + 8192 && status_number(&w, 1, "log_entries") >= 20001);
    call_ok(&w, 1, M_STOCK, "shop1/tea", 1);
    heal();
    check_revenue(1);
    close_all();
    driver_max_calls = 4096;
}

/* Each entry that others need with one behind it that they do not: all are counted, and what does not need to be kept is never refused. */
static void test_bounded(void)
{
    world_open(&w, 2);
    w.nodes[1].config.max_log = 60000;
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link_all(&w);
    world_pass(&w, 300000);
    world_cut(&w, 0, 1);
    uint64_t before = status_number(&w, 1, "memory");
    int64_t earned = 0;
    answer *got = call_now(&w, 1, M_EARN, "", 1);
    for (; got->outcome == GLAS_COMMITTED; got = call_now(&w, 1, M_EARN, "", 1)) {
        check(++earned < 2000);
        call_ok(&w, 1, M_STOCK, "shop1/tea", earned);
    }
    check(got->reason == GLAS_WHY_BUSY && earned > 500);
    call_ok(&w, 1, M_STOCK, "shop1/tea", 0);
    uint64_t full = status_number(&w, 1, "log_bytes");
    check(full <= 60000 && full > 55000 && status_number(&w, 1, "memory") < before + 5 * 60000);
    restart(1);
    check(status_number(&w, 1, "log_bytes") == full && call_now(&w, 1, M_EARN, "", 1)->reason == GLAS_WHY_BUSY);
    forget_journal(1);
    restart(1);
    check(status_number(&w, 1, "log_bytes") == full && call_now(&w, 1, M_EARN, "", 1)->reason == GLAS_WHY_BUSY);
    heal();
    check(status_number(&w, 1, "memory") < before + 30000); /* the ring was given back; a link's buffer stays */
    call_ok(&w, 1, M_EARN, "", 1);
    heal();
    check_revenue(earned + 1);
    close_all();
}

/* A run of entries grows while part of it is on its way, acknowledged, or in a snapshot. */
static void test_parts_of_runs(void)
{
    world_begin(&w, 3);
    for (int i = 0; i < 40; i++) {
        wire *slow = world_wire(&w, 1, 2);
        if (slow != NULL) slow->lag[slow->ends[0] == 1 ? 0 : 1] = i % 3 == 0 ? SIZE_MAX : 0; /* acknowledgements of shop2 */
        for (int k = 0; k < 3; k++) call_ok(&w, 1, M_STOCK, "shop1/tea", i);
        if (i % 5 == 1) call_ok(&w, 1, M_EARN, "", 1);
        if (i % 4 == 2) forget_journal(1);
        if (i % 6 == 3) restart(1);
        if (i % 7 == 4) world_cut(&w, 1, 2);
        if (i % 7 == 6) world_link_all(&w);
        check(status_number(&w, 1, "log_entries") < 200);
    }
    for (int i = 0; i < MAX_WIRES; i++) w.wires[i].lag[0] = w.wires[i].lag[1] = 0;
    heal();
    check_revenue(8);
    close_all();
}

/* An entry that no other mirror needs tells no causes; the next one tells its too, also where both are made by different runs. */
static void test_causes_wait(void)
{
    for (int way = 0; way < 4; way++) {
        world_begin(&w, 3);
        wire *slow = world_wire(&w, 0, 2);
        slow->lag[slow->ends[0] == 2 ? 0 : 1] = SIZE_MAX;
        call_ok(&w, 0, M_VISIT, "cause", 1);
        check(shows(1, "db.visits", "cause") && !shows(2, "db.visits", "cause"));
        call_ok(&w, 1, M_STOCK, "shop1/tea", 1);
        if (way == 1) restart(1);
        if (way == 2) forget_journal(1), restart(1);
        if (way == 3) restart(1), call_ok(&w, 1, M_STOCK, "shop1/tea", 2), forget_journal(1);
        call_ok(&w, 1, M_VISIT, "effect", 1);
        if (way > 0) world_link(&w, 1, 2);
        world_settle(&w);
        check(!shows(2, "db.visits", "effect"));
        slow->lag[0] = slow->lag[1] = 0;
        world_settle(&w);
        check(shows(2, "db.visits", "effect") && shows(2, "db.visits", "cause"));
        heal();
        close_all();
    }
}

/* The n-th allocation of a commit fails: the entry is taken back, out of a run too. */
static void test_taken_back(void)
{
    static char key[3000];
    int failures = 0;
    memset(key, 'k', sizeof key - 1);
    memcpy(key, "shop1/", 6);
    world_begin(&w, 2);
    world_cut(&w, 0, 1);
    for (int64_t fail = 0; fail < 40; fail++) {
        restart(1); /* so that what the journal is written to has to grow */
        if (fail % 8 < 4) call_ok(&w, 1, M_VISIT, "x", 1);
        uint64_t entries = status_number(&w, 1, "log_entries"), bytes = status_number(&w, 1, "log_bytes");
        driver_fail_after = fail / 4, driver_fail_count = 1;
        answer *got = call_now(&w, 1, fail % 4 < 3 ? M_STOCK : M_VISIT, key, fail);
        driver_fail_after = -1;
        bool went = status_number(&w, 1, "log_entries") == entries + 1; /* the answer may be what there was no memory for */
        failures += !went;
        check(went ? got->outcome != GLAS_ABORTED : got->outcome != GLAS_COMMITTED && status_number(&w, 1, "log_entries") == entries);
        check(went || status_number(&w, 1, "log_bytes") == bytes);
        char *before = node_dump(&w, 1);
        restart(1);
        char *after = node_dump(&w, 1);
        check(strcmp(before, after) == 0 && status_number(&w, 1, "log_entries") == entries + went);
        free(before), free(after);
    }
    check(failures > 5);
    heal();
    close_all();
}

/* ------------------------------------------------------------------ acknowledgements in the journal */

/* Records of acknowledgements in a mirror's journal; *last: up to which entry the last one says. */
static uint64_t count_acked(int index, uint64_t *last)
{
    const buffer *journal = &w.nodes[index].journal;
    uint64_t found = 0;
    *last = 0;
    for (size_t at = 0; at < journal->n;) {
        const uint8_t *p = journal->p + at;
        size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16;
        if (p[8] == RECORD_ACKED) {
            found++;
            *last = 0;
            for (size_t i = n - 1; i > 0; i--) *last = *last << 7 | (p[8 + i] & 0x7F);
        }
        at += n + 8;
    }
    return found;
}

static void test_restart_remembers(void)
{
    world_open(&w, 2);
    w.nodes[1].config.max_log = 30000;
    for (int i = 0; i < 2; i++) node_start(&w, i);
    world_link_all(&w);
    world_pass(&w, 300000);
    for (int i = 0; i < 2500; i++) call_ok(&w, 1, M_EARN, "", 1);
    check(status_number(&w, 1, "log_entries") == 0);
    uint64_t last, records = count_acked(1, &last), memory = status_number(&w, 1, "memory");
    check(records > 5 && records < 2500 / 40 && last > 2400);
    world_cut(&w, 0, 1);
    w.nodes[1].config.max_heap = memory + 30000; /* what sufficed to run suffices to load */
    restart(1);
    check(status_number(&w, 1, "log_bytes") < 30000 / 5 && status_number(&w, 1, "memory") < memory + 10000);
    call_ok(&w, 1, M_EARN, "", 1);
    restart(1);
    call_ok(&w, 1, M_EARN, "", 1);
    heal();
    check_revenue(2502);
    close_all();
}

/* What the other has applied and has not on disk yet is not acknowledged, and nobody says so: it may be lost, and is sent again. */
static void test_only_what_is_on_disk(void)
{
    uint64_t last, before;
    world_begin(&w, 2);
    count_acked(1, &before);
    w.nodes[0].lazy = true;
    for (int i = 0; i < 300; i++) call_ok(&w, 1, M_EARN, "", 1);
    check(shows(0, "db.revenue", "\"value\":300}") && count_acked(1, &last) <= 1 && last == before);
    check(status_number(&w, 1, "log_entries") >= 300);
    node_stop(&w, 0);
    restart(1);
    w.nodes[0].lazy = false;
    node_start(&w, 0);
    check(!shows(0, "db.revenue", "\"value\":300}"));
    heal();
    check(count_acked(1, &last) > 0 && last >= 300);
    check_revenue(300);
    close_all();
}

/* Acknowledgements that are on their way have not been heard: the record says no more than what has. */
static void test_only_what_was_heard(void)
{
    uint64_t last;
    world_begin(&w, 2);
    wire *slow = world_wire(&w, 0, 1);
    int end = slow->ends[0] == 1 ? 0 : 1;
    slow->lag[end] = SIZE_MAX;
    for (int i = 0; i < 300; i++) call_ok(&w, 1, M_EARN, "", 1);
    check(count_acked(1, &last) == 0);
    world_deliver(&w, slow, end, slow->to[end].n / 2);
    uint64_t left = status_number(&w, 1, "log_entries");
    check(left > 100 && left < 200);
    check(count_acked(1, &last) == 1 && last == 300 - left);
    restart(1);
    check(status_number(&w, 1, "log_entries") == left);
    heal();
    check_revenue(300);
    close_all();
}

static void put_record(node *it, uint8_t number)
{
    uint8_t record[] = {2, 0, 0, 0, 0, 0, 0, 0, RECORD_ACKED, number};
    uint32_t hash = (uint32_t)glas_hash_bytes(record + 8, 2, UINT64_C(0x676C61736A6F7572));
    for (int k = 0; k < 4; k++) record[4 + k] = (uint8_t)(hash >> (8 * k));
    buffer_add(&it->journal, record, sizeof record);
}

/* A record can only be of entries that there are, and then cuts no more than it says. */
static void test_records(void)
{
    world_begin(&w, 2);
    world_cut(&w, 0, 1);
    for (int i = 0; i < 5; i++) call_ok(&w, 1, M_EARN, "", 1), call_ok(&w, 1, M_STOCK, "shop1/tea", i), call_ok(&w, 1, M_STOCK, "shop1/tea", i);
    check(status_number(&w, 1, "log_entries") == 15);
    node_stop(&w, 1);
    node *it = &w.nodes[1];
    size_t n = it->journal.n;
    for (uint8_t number = 0; number < 18; number++) {
        put_record(it, number);
        bool ok = node_load(&w, it);
        check(ok == (number <= 15) && (ok || strstr(it->load_message, "a record does not make sense at byte") != NULL));
        glas_close(it->core);
        it->core = NULL;
        it->journal.n = n;
    }
    put_record(it, 5);
    it->synced = it->journal_from + it->journal.n;
    check(node_start(&w, 1)->load_message[0] == 0 && status_number(&w, 1, "log_entries") == 10);
    forget_journal(1);
    restart(1);
    check(status_number(&w, 1, "log_entries") == 10);
    close_all();
}

int main(void)
{
    run(test_local_only);
    run(test_bounded);
    run(test_parts_of_runs);
    run(test_causes_wait);
    run(test_taken_back);
    run(test_restart_remembers);
    run(test_only_what_is_on_disk);
    run(test_only_what_was_heard);
    run(test_records);
    return 0;
}
