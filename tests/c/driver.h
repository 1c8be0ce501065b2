/* A driver in one process: some mirrors, their disks and the wires between them, all as bytes in memory.
 *
 * It honours the durability barrier: what names a journal position leaves only when that much is on disk. Time moves when a test says so.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include "check.h"
#include "tiny_app.h"

#define MAX_NODES 4
#define MAX_WIRES 64
#define WORLD_MAX_TEXT 65536

typedef struct buffer {
    uint8_t *p;
    size_t n, capacity;
} buffer;
void buffer_add(buffer *to, const void *p, size_t n);
void buffer_drop(buffer *from, size_t n); /* the first n bytes */
void buffer_free(buffer *it);

/* How a call ended, copied out of the core. */
typedef struct answer {
    bool done; /* left the mirror: its barrier was on disk */
    int32_t outcome, reason, status;
    int64_t n; /* of a tiny_result */
    uint64_t barrier;
    char text[256], message[400], body[600];
} answer;

typedef struct held {
    int32_t kind;
    uint32_t link, call;
    uint64_t barrier;
    uint8_t *bytes;
    size_t n;
} held;

typedef struct node {
    glas_core *core; /* NULL: down */
    int index;
    glas_config config;
    buffer journal; /* bytes from position `journal_from` on */
    uint64_t journal_from, synced;
    buffer snapshot;
    uint64_t snapshot_at;
    buffer next_snapshot; /* takes the other's place once its barrier is on disk */
    uint64_t next_at;
    held *held; /* outputs that wait for the disk, in order */
    size_t held_count, held_capacity;
    int64_t wake_at;
    bool more, lazy; /* lazy: nothing reaches the disk but by node_sync */
    char log[4096];  /* its log lines, the newest part */
    char close_reason[400], load_message[400];
    int closes;
    size_t memory; /* bytes that its core holds */
    uint32_t incarnations;
} node;

typedef struct wire {
    bool used;
    int ends[2];
    uint32_t numbers[2];
    buffer to[2];       /* bytes on their way to ends[0], ends[1] */
    bool closed[2];     /* that end knows no such link any more */
    size_t lag[2];      /* bytes to that end which stay where they are for now: SIZE_MAX holds all */
} wire;

typedef struct world {
    node nodes[MAX_NODES];
    int count;
    glas_mirror mirrors[MAX_NODES];
    const glas_app *app;
    int64_t now;
    wire wires[MAX_WIRES];
    uint32_t next_link;
    answer *answers; /* by call number */
    uint64_t calls;
    size_t chunk; /* deliver so many bytes at a time; 0: all */
    size_t delivered[MAX_NODES]; /* bytes that came over wires */
    int flip_node;               /* the byte number `flip_at` that comes to it is changed by `flip_with` */
    size_t flip_at;
    uint8_t flip_with; /* 0: none is */
} world;

/* Allocations until `driver_fail_count` of them fail; negative: none does. */
extern int64_t driver_fail_after, driver_fail_count;

/* Calls that a world may see; fewer make a world cheaper. */
extern uint64_t driver_max_calls;

void world_open(world *w, int count); /* hq, shop1, shop2, ... with wires to nobody */
void world_close(world *w);
void world_begin(world *w, int count); /* opened, started, linked each to each, and at rest */
void world_end(world *w);              /* closed, and nothing of it left in memory */
void world_link(world *w, int from, int to);
void world_link_all(world *w);
void world_cut(world *w, int a, int b);
wire *world_wire(world *w, int a, int b); /* NULL: none */
void world_settle(world *w);              /* delivers, turns and syncs until nothing moves */
void world_pass(world *w, int64_t us);    /* lets time pass, in steps of at most a tenth of a second */
void world_deliver(world *w, wire *it, int end, size_t n);

node *node_start(world *w, int index);    /* opens, loads, starts; false in load_message if refused */
bool node_load(world *w, node *it);       /* opens and loads only */
void node_stop(world *w, int index);      /* crash: what is not on disk is lost */
void node_sync(world *w, int index);
void node_drain(world *w, node *it);
int32_t node_input(world *w, node *it, glas_input *input);
void node_snapshot(world *w, int index);
const char *node_inspect(world *w, int index, const char *what); /* JSON, valid until the next inspection */
char *node_dump(world *w, int index); /* all persistent state as text; to be freed */
char *node_dump_all(world *w, int index);  /* `mem` state too */

/* Calls; the answer is in world.answers[...] once `done`. */
uint64_t call_text(world *w, int index, uint32_t method, const char *text, int64_t n, int64_t timeout_us);
uint64_t call_http(world *w, int index, const char *verb, const char *path, const char *body, int64_t timeout_us);
uint64_t call_rpc(world *w, int index, const char *method, const char *json, int64_t timeout_us);
answer *call_now(world *w, int index, uint32_t method, const char *text, int64_t n); /* and settles */
answer *call_ok(world *w, int index, uint32_t method, const char *text, int64_t n);  /* and checks that it committed */
uint64_t status_number(world *w, int index, const char *name);                        /* from "status" */
void check_no_leak(const world *w);

#endif
