/* Journals and snapshots: what is loaded is what there was, and damage is found and named. */
#include "driver.h"

static world w;

static void close_all(void)
{
    world_close(&w);
    check_no_leak(&w);
}

/* Two mirrors that have done a bit of everything. */
static void busy_world(void)
{
    world_begin(&w, 2);
    call_ok(&w, 0, M_TITLE, "title", 0);
    call_ok(&w, 1, M_STOCK, "shop1/tea", 5);
    call_ok(&w, 0, M_SELL, "shop1/tea", 2); /* shipped */
    call_ok(&w, 1, M_SELL, "shop1/tea", 1);
    call_ok(&w, 1, M_TICKET, "ticket", 0);
    call_ok(&w, 0, M_TICKET, "second", 0);
    call_ok(&w, 0, M_UNDO, "a", 0);
    call_ok(&w, 1, M_SPEND, "code", 3);
    call_ok(&w, 1, M_VISIT, "", INT64_MIN);
    call_ok(&w, 1, M_NEWS, "news", 0);
    call_ok(&w, 1, M_RATE, "", -3);
    world_pass(&w, 300000);
    world_cut(&w, 0, 1);
    call_ok(&w, 1, M_NOTE, "not yet sent", 0);
    call_ok(&w, 0, M_EARN, "", 4);
}

static void test_replay(void)
{
    busy_world();
    for (int i = 0; i < 2; i++) {
        char *before = node_dump(&w, i);
        uint64_t entries = status_number(&w, i, "log_entries"), applied = status_number(&w, i, "applied");
        for (int k = 0; k < 4; k++) { /* by journal, by snapshot, by a snapshot and what came after */
            if (k > 0 && k < 3) node_snapshot(&w, i);
            if (k == 3) call_ok(&w, i, M_ECHO + (i == 1 ? M_SUMS - M_ECHO : 0), "", 0);
            node_stop(&w, i);
            check(node_start(&w, i)->load_message[0] == 0);
            char *after = node_dump(&w, i);
            check(strcmp(before, after) == 0);
            check(status_number(&w, i, "applied") == applied && status_number(&w, i, "log_entries") <= entries + 30);
            check(status_number(&w, i, "incarnation") == (uint64_t)k + 2);
            free(after);
        }
        free(before);
    }
    world_link_all(&w);
    world_pass(&w, 400000);
    check(strstr(node_inspect(&w, 0, "state db.booked"), "not yet sent") != NULL);
    close_all();
}

/* The same history twice, once with a snapshot on the way: the same state, and the snapshots of both load as that. */
static void test_snapshot_is_replay(void)
{
    char *ends[2];
    for (int with = 0; with < 2; with++) {
        busy_world();
        if (with) node_snapshot(&w, 1);
        node_stop(&w, 1);
        node_start(&w, 1);
        call_ok(&w, 1, M_VISIT, "later", 1);
        ends[with] = node_dump(&w, 1);
        node_snapshot(&w, 1);
        node_stop(&w, 1);
        node_start(&w, 1);
        char *again = node_dump(&w, 1);
        check(strcmp(ends[with], again) == 0 && strstr(again, "later") != NULL);
        free(again);
        close_all();
    }
    check(strcmp(ends[0], ends[1]) == 0);
    free(ends[0]), free(ends[1]);
}

static bool loads(node *it) { return node_load(&w, it); }

static void unload(node *it)
{
    glas_close(it->core);
    it->core = NULL;
    check(it->memory == 0);
}

static void flip_all(node *it, buffer *bytes, const char *what)
{
    unsigned long long random = 5;
    for (size_t at = 0; at < bytes->n; at++) {
        uint8_t was = bytes->p[at];
        bytes->p[at] ^= (uint8_t)(1 + check_random(&random) % 255);
        check(!loads(it));
        check(strstr(it->load_message, what) != NULL && strpbrk(it->load_message, "0123456789") != NULL);
        glas_reply reply = {0}; /* and nobody can go on from there */
        glas_step(it->core, &(glas_input){.kind = GLAS_IN_START, .now = w.now, .reply = &reply});
        check(reply.outcome == GLAS_ABORTED);
        unload(it);
        bytes->p[at] = was;
    }
    size_t n = bytes->n;
    for (bytes->n = 0; bytes->n < n; bytes->n++) {
        if (bytes->n == 0) continue;
        bool ok = loads(it); /* cut short: refused, but where a record ends */
        check(ok || strstr(it->load_message, what) != NULL);
        unload(it);
    }
    check(loads(it));
    unload(it);
}

static void test_damage(void)
{
    busy_world();
    node_stop(&w, 0);
    node_stop(&w, 1);
    for (int i = 0; i < 2; i++) flip_all(&w.nodes[i], &w.nodes[i].journal, "the journal is damaged");
    node_start(&w, 1);
    node_snapshot(&w, 1);
    node_stop(&w, 1);
    w.nodes[1].journal.n = 0;
    flip_all(&w.nodes[1], &w.nodes[1].snapshot, "the snapshot");
    close_all();
}

static void forge_snapshot(node *it)
{
    size_t n = it->snapshot.n - 8;
    for (size_t i = 0; i < n; i++) {
        uint8_t was = it->snapshot.p[i];
        for (int bit = 0; bit < 8; bit += 1 + (int)(i % 3)) {
            it->snapshot.p[i] = was ^ (uint8_t)(1 << bit);
            uint64_t hash = glas_hash_bytes(it->snapshot.p, n, UINT64_C(0x676C6173736E6170));
            for (int k = 0; k < 8; k++) it->snapshot.p[n + (size_t)k] = (uint8_t)(hash >> (8 * k));
            loads(it);
            unload(it);
        }
        it->snapshot.p[i] = was;
    }
}

/* Damage behind a check that fits it: records that make no sense are refused too, and nothing breaks. */
static void test_forged(void)
{
    busy_world();
    node_stop(&w, 1);
    node *it = &w.nodes[1];
    const uint64_t seed = UINT64_C(0x676C61736A6F7572);
    for (size_t at = 0; at < it->journal.n;) {
        uint8_t *p = it->journal.p + at;
        size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16;
        for (size_t i = 0; i < n; i++) {
            uint8_t was = p[8 + i], check_was[4];
            memcpy(check_was, p + 4, 4);
            for (int bit = 0; bit < 8; bit += 1 + (int)(i % 3)) {
                p[8 + i] = was ^ (uint8_t)(1 << bit);
                uint32_t hash = (uint32_t)glas_hash_bytes(p + 8, n, seed);
                for (int k = 0; k < 4; k++) p[4 + k] = (uint8_t)(hash >> (8 * k));
                loads(it); /* either way nothing breaks */
                unload(it);
            }
            p[8 + i] = was;
            memcpy(p + 4, check_was, 4);
        }
        at += n + 8;
    }
    check(loads(it));
    unload(it);
    node_start(&w, 1);
    node_snapshot(&w, 1);
    node_stop(&w, 1);
    forge_snapshot(it);
    close_all();
}

static void test_wrong_snapshots(void)
{
    busy_world();
    node_snapshot(&w, 0);
    node_stop(&w, 0);
    node_stop(&w, 1);
    buffer_drop(&w.nodes[1].journal, w.nodes[1].journal.n);
    buffer_add(&w.nodes[1].snapshot, w.nodes[0].snapshot.p, w.nodes[0].snapshot.n);
    check(!loads(&w.nodes[1]) && strstr(w.nodes[1].load_message, "the snapshot is of another mirror, at byte") != NULL);
    unload(&w.nodes[1]);
    glas_app other = tiny_app;
    other.protocol_id[0] = 9;
    w.app = &other;
    check(!loads(&w.nodes[0]) && strstr(w.nodes[0].load_message, "of another app or version") != NULL);
    unload(&w.nodes[0]);
    w.app = &tiny_app;
    w.mirrors[1].name.n--;
    check(!loads(&w.nodes[0]) && strstr(w.nodes[0].load_message, "written with other mirrors") != NULL);
    unload(&w.nodes[0]);
    w.mirrors[1].name.n++;
    w.nodes[0].journal_from += 1; /* a gap between the two */
    buffer_add(&w.nodes[0].journal, "xxxxxxxxxx", 10);
    check(!loads(&w.nodes[0]) && strstr(w.nodes[0].load_message, "a gap or an overlap") != NULL);
    unload(&w.nodes[0]);
    close_all();
}

/* A journal names mirrors by their place in the roster, so it says of which roster it is. */
static void test_journal_of_another_roster(void)
{
    world_begin(&w, 2);
    call_ok(&w, 1, M_EARN, "", 1);
    for (int i = 0; i < 2; i++) node_stop(&w, i);
    check(w.nodes[0].snapshot.n == 0);
    w.mirrors[1].name.n--;
    for (int i = 0; i < 2; i++) {
        check(!loads(&w.nodes[i]) && strstr(w.nodes[i].load_message, "written with other mirrors") != NULL);
        unload(&w.nodes[i]);
    }
    w.mirrors[1].name.n++;
    buffer_drop(&w.nodes[1].journal, w.nodes[1].journal.n);
    buffer_add(&w.nodes[1].journal, w.nodes[0].journal.p, w.nodes[0].journal.n);
    w.nodes[1].journal_from = w.nodes[0].journal_from;
    w.nodes[1].synced = w.nodes[0].synced;
    check(!loads(&w.nodes[1]) && strstr(w.nodes[1].load_message, "written with other mirrors") != NULL);
    unload(&w.nodes[1]);
    world_close(&w);
}

/* A snapshot is of the moment when it was asked for, whatever comes before it is fetched. */
static void test_snapshot_position(void)
{
    world_open(&w, 1);
    node_start(&w, 0);
    world_settle(&w);
    node *it = &w.nodes[0];
    uint64_t then = status_number(&w, 0, "journal");
    tiny_args args = {.n = 5};
    glas_step(it->core, &(glas_input){.kind = GLAS_IN_SNAPSHOT, .now = w.now});
    glas_reply reply;
    glas_step(it->core, &(glas_input){.kind = GLAS_IN_CALL, .now = w.now, .method = M_EARN, .args = &args, .call = 4000, .reply = &reply});
    check(reply.outcome == GLAS_COMMITTED && reply.barrier > then);
    node_drain(&w, it);
    check(it->snapshot_at == then);
    node_stop(&w, 0);
    check(node_start(&w, 0)->load_message[0] == 0 && strstr(node_inspect(&w, 0, "state db.revenue"), "5") != NULL);
    close_all();
}

/* What a lone mirror or one in memory keeps. */
static void test_in_memory(void)
{
    world_open(&w, 2);
    for (int i = 0; i < 2; i++) {
        w.nodes[i].config.durable = 0;
        node_start(&w, i);
    }
    world_link_all(&w);
    world_pass(&w, 300000);
    answer *got = call_ok(&w, 1, M_TITLE, "t", 0);
    check(got->barrier == 0 && w.nodes[0].journal.n == 0);
    call_ok(&w, 1, M_NOTE, "note", 0);
    world_pass(&w, 300000);
    check(strstr(node_inspect(&w, 0, "state db.booked"), "note") != NULL);
    close_all();
}

static void test_configurations(void)
{
    world_open(&w, 2);
    node *it = &w.nodes[0];
    const glas_config good = it->config;
    for (int i = 0; i < 9; i++) {
        it->config = good;
        w.mirrors[1].places = 6;
        w.mirrors[1].name = (glas_bytes){"shop1", 5};
        switch (i) {
        case 0: it->config.mirror_count = 0; break;
        case 1: it->config.self = 2; break;
        case 2: it->config.max_waiting = 0; break;
        case 3: it->config.max_link_buffer = 4200; break;
        case 4: it->config.ping_us = 0; break;
        case 5: it->config.silent_us = INT64_MAX; break;
        case 6: w.mirrors[1].places = 7; break;
        case 7: w.mirrors[1].name = w.mirrors[0].name; break;
        default: it->config.origin = 5; break;
        }
        check(!node_load(&w, it) && it->core == NULL && it->load_message[0] != 0 && it->memory == 0);
    }
    it->config = good;
    it->config.origin = 1; /* where start's state is not */
    w.mirrors[1].name = (glas_bytes){"shop1", 5};
    check(node_load(&w, it));
    unload(it);
    w.nodes[1].config.origin = 1;
    check(!node_load(&w, &w.nodes[1]) && strstr(w.nodes[1].load_message, "start needs state") != NULL);
    close_all();
}

int main(void)
{
    run(test_replay);
    run(test_snapshot_is_replay);
    run(test_damage);
    run(test_forged);
    run(test_wrong_snapshots);
    run(test_journal_of_another_roster);
    run(test_snapshot_position);
    run(test_in_memory);
    run(test_configurations);
    return 0;
}
