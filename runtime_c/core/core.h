/* The core from inside: one struct per concept, and what each file offers the files above it.
 *
 * Order, lowest first (a file uses only what stands above it here): mem wire json value table queue | txn state | entry | outbox log
 * journal snapshot | call frame hello link ship sched http inspect | core. The few calls upwards are listed in tests/test_tidy.py.
 * Vocabulary: docs/consistency.md.
 */
#ifndef GLAS_CORE_INTERNAL_H
#define GLAS_CORE_INTERNAL_H

#include "json.h"
#include "mem.h"
#include "table.h"

/* Bugs planted on purpose, so that tests see the checkers go red; 0 in every build that is not such a test.
 * 1: an entry is applied twice. 2: an entry is applied before its causes. 3: a repeated shipped call runs again. 4: undo forgets queues.
 * 5: recovery loses the frontier of others' logs. 6: a reply does not wait for its frontier. 7: a replica is as fresh as a probe's answer is,
 * not its question. 8: a probe is answered before the entries that were there when it came. */
#ifndef GLAS_PLANT
#define GLAS_PLANT 0
#endif

#define GLAS_WIRE_VERSION 2
#define GLAS_NO_MIRROR UINT32_MAX
#define GLAS_NEVER INT64_MAX
#define GLAS_TIME_MOST (INT64_MAX / 8) /* clocks and waits are held within, so that sums of a few cannot overflow */
#define GLAS_CALL_MOST (UINT64_MAX - 1) /* numbers of shipped calls; one more stands for "beyond all" */
#define GLAS_MAX_MIRRORS 1000u
/* A HELLO, or an item's causes, always fit in a link's buffer; one entry, request or reply has to fit in what glas_fits leaves. */
#define GLAS_LEAST_LINK_BUFFER(mirrors) (4096u + 128u * (size_t)(mirrors))
#define GLAS_MAX_LINKS_EXTRA 64u /* links beyond one a mirror: connections not yet introduced */

/* ------------------------------------------------------------------ state */

/* The read end of a queue: a ring of items, and how many of the oldest the running transaction has taken. */
typedef struct glas_ring {
    uint8_t *items;
    uint32_t capacity; /* zero or a power of two */
    uint32_t head;     /* of the oldest item, counted without wrapping */
    uint32_t count;    /* items not taken */
    uint32_t taken;    /* taken by the running transaction, still in the ring before head */
} glas_ring;

typedef struct glas_state {
    const glas_state_info *info;
    uint32_t owner; /* where one mirror owns all of it, else GLAS_NO_MIRROR */
    bool all_here;  /* every unit of it is owned here: by `owner`, or because there is no other mirror */
    glas_table table;
    glas_ring ring;
    uint32_t recent[2]; /* rows read last: a change mostly is of one of them, and then needs no look into the index */
    size_t value_size; /* of a row's value: of the type, 16 for a counter, 8 a mirror for a bounded */
} glas_state;

/* ------------------------------------------------------------------ transactions */

typedef enum glas_change_kind {
    GLAS_ROW_SET, /* an existing row's value was replaced; `old` holds what it was */
    GLAS_ROW_NEW, /* a row was made */
    GLAS_ADDED,   /* `delta` was added to a counter's row */
    GLAS_GAINED,  /* `delta` was added to `mirror`'s rights in a bounded's row */
    GLAS_TOOK,    /* the oldest item of the read end here was taken */
    GLAS_WROTE,   /* an item was written; `old` points at it in the arena; `here`: it also stands in the ring */
} glas_change_kind;

typedef struct glas_change {
    uint8_t kind;
    bool here;
    uint16_t state;
    uint32_t row;
    uint32_t mirror;
    int64_t delta;
    void *old; /* in the arena */
} glas_change;

struct glas_txn {
    glas_core *core;
    const glas_method_info *method;
    uint64_t serial;     /* of this transaction or entry, for marks */
    uint32_t started_at; /* mirror where it started: what sys.mirror.name observes */
    int64_t time;
    glas_text body; /* of the HTTP request */
    bool invariant; /* an invariant: dicts are iterated over the rows here */
    glas_change *changes;
    uint32_t change_count, change_capacity;
    glas_text *lines; /* of sys.log */
    uint32_t line_count, line_capacity;
    glas_arena arena;
    /* why it missed or erred; the message is in the arena or constant */
    uint32_t missed_owner;
    glas_text message;
    bool read_clock; /* it asked for the time: it may go otherwise later, though nothing else changes */
    bool no_memory;  /* why it erred: it may go well once others have given memory back */
    bool committed;  /* old values are to be dropped by the next begin */
};

/* ------------------------------------------------------------------ log */

/* An entry of this mirror's own log, kept until all mirrors have acknowledged it; or a run of those that no other mirror needs. */
typedef struct glas_own_entry {
    uint8_t *bytes; /* causes, then method and effects (entry.c) */
    uint32_t n;     /* 0: a run, of which only how many there are is kept */
    uint64_t last;  /* its number, or that of the last entry of the run */
    int64_t time;   /* of that one */
    uint64_t end;   /* bytes of the log up to and with this entry, counted from its beginning */
} glas_own_entry;

typedef struct glas_own_log {
    glas_own_entry *entries; /* ring */
    uint32_t capacity;       /* zero or a power of two */
    uint32_t head, count;    /* the oldest, counted without wrapping; how many there are: a run is one */
    uint64_t first, next;    /* entry numbers: [first, next); the first of all is 1. `first` may be within a run */
    uint64_t cut;            /* bytes of the entries before `first` */
    uint64_t end;            /* bytes of all entries */
    uint64_t unsaved;        /* of what acknowledgements cut: held bytes since the journal's last word of it */
    int64_t last_time;       /* of entry next - 1 */
} glas_own_log;

/* What is known of a mirror, this one included. */
typedef struct glas_peer {
    glas_text name;
    uint64_t places;
    uint64_t applied;  /* frontier: entries of its log applied here */
    uint64_t acked;    /* entries of this mirror's log that it has on disk */
    uint64_t *causes;  /* of its entry number `applied`: its own frontier then */
    int64_t last_time; /* of its entry number `applied` */
    int64_t fresh;     /* all that it had committed by this time of core->clock is applied here; INT64_MIN: never */
    int64_t fresh_saved;
    uint64_t incarnation;
    uint32_t link; /* index into links, or GLAS_NO_MIRROR: cut off */
    struct glas_session *done; /* shipped calls of it that committed here and that it may repeat */
    uint32_t done_count, done_capacity;
} glas_peer;

/* A call shipped here that has committed: its answer is kept until the sender needs it no more (exactly once). */
typedef struct glas_session {
    uint64_t number;
    uint8_t *result;
    uint32_t n;
    bool due;  /* asked for again: to be sent */
    bool open; /* named as open, in a list of such that has not ended */
} glas_session;

/* ------------------------------------------------------------------ links */

typedef struct glas_link {
    bool used, greeted; /* greeted: its HELLO was taken */
    uint32_t number;    /* the driver's */
    uint32_t peer;      /* GLAS_NO_MIRROR until known */
    uint8_t *in;
    uint32_t in_capacity;
    size_t in_at, in_n;   /* unprocessed bytes: [in_at, in_n) */
    bool stalled;         /* the frame at in_at waits for its causes */
    uint32_t waits_for;   /* where stalled: a mirror whose entries are among them */
    size_t in_frame;      /* within the frame at in_at: bytes of its body already applied (a stalled run of entries) */
    uint64_t in_offset;   /* stream offset of in[in_at], for messages */
    int64_t in_time;      /* of the last entry received on this link */
    uint64_t *in_vector, *out_vector; /* last frontier received and sent here */
    glas_writer out;
    glas_writer later;    /* answers that wait to be sent */
    size_t later_at;      /* of it, so much has been */
    bool answers_full;    /* calls from there wait until answers have room again */
    bool repeats;         /* remembered answers are asked for */
    uint32_t unsent;      /* shipped calls to be sent there; or fewer, where some have ended */
    uint32_t open_at;     /* the slot from which on shipped calls are to be named as open */
    uint64_t open_most;   /* shipped calls beyond this number need not be */
    size_t unheard, probed_bytes; /* bytes of requests and answers sent of which no pong has come yet; those before `room_probe` */
    int64_t room_probe;   /* the time in the probe behind these bytes */
    bool out_given; /* poll gave `out`: emptied at the next step */
    uint64_t sent;  /* own entries sent */
    int64_t sent_time;
    uint64_t acked; /* of its log: last acknowledgement sent */
    int64_t heard, probed, since; /* since: when it came up */
    int64_t pong_due; /* a probe to be answered once all entries have been sent; INT64_MIN: none */
} glas_link;

/* ------------------------------------------------------------------ calls */

typedef enum glas_form { GLAS_TYPED = 0, GLAS_AS_HTTP, GLAS_AS_RPC, GLAS_REMOTE } glas_form;

/* A call being carried out, waiting here, or shipped. */
typedef struct glas_call {
    bool used;
    bool shipped; /* to `to`, as `number`; else it waits here for a change */
    bool unsent;  /* shipped: to be sent on the present link, behind `after` own entries */
    bool kept;    /* it stands in core->calls: args and body are heap copies */
    glas_form form;
    uint32_t method, started_at, to;
    uint64_t id;       /* the driver's, or of a remote call the sender's number */
    uint64_t number; /* where shipped */
    uint64_t incarnation, lowest; /* of a remote call: its sender's, and the lowest number that the sender still waits for */
    int64_t deadline;
    void *args;
    glas_text body;
} glas_call;

typedef struct glas_outgoing {
    int32_t kind, level;
    uint32_t link;
    uint64_t barrier;
    size_t at, n; /* bytes in core->out_bytes */
    bool has_reply, lost; /* lost: memory did not suffice for what the reply says beyond its outcome */
    glas_reply reply;
    size_t message_n, type_n; /* of a reply: bytes are body, message, content type one after the other */
    const glas_type *result_type;
    void *result;
} glas_outgoing;

typedef struct glas_step_state {
    uint32_t method;
    bool awake;
    bool here; /* what it needs can be owned here */
    int64_t again; /* where it sleeps: when to look again, whatever changes; GLAS_NEVER: only when something changes */
} glas_step_state;

/* ------------------------------------------------------------------ the core */

struct glas_core {
    const glas_app *app;
    glas_config config;
    glas_heap heap;
    uint64_t cluster; /* hash of the roster */
    int64_t now;      /* hybrid time: never runs backwards */
    int64_t clock;    /* time that has passed: the driver's clock at this step plus `lag` */
    int64_t lag;      /* by how much the driver's clock was set back: deadlines and ages must not wait for it to catch up */
    uint32_t self, mirrors;
    uint32_t mask_words; /* words of a mask of states that can have a bit set */
    glas_peer *peers;
    glas_state *states;
    uint32_t *ship_to; /* per method: mirror that must run it, or `self` */
    uint32_t *cursors; /* per choose site: row last taken */

    glas_txn txn;
    _Alignas(16) uint8_t args[GLAS_MAX_RESULT], result[GLAS_MAX_RESULT];
    glas_arena input_arena; /* decoded arguments of the call at hand */
    glas_arena wire_arena;  /* values on their way between forms */
    uint64_t *vector, *run; /* room for two frontiers at hand, or growths of such */
    bool applied_since;     /* entries of others were applied since this mirror's last own entry with causes */
    glas_writer scratch;    /* an entry or message being made */
    glas_writer text;       /* the body of a reply being made */

    glas_own_log log;
    uint64_t incarnation;
    bool pump_due; /* links may have something to send: done when outputs are drained, so that a turn's entries share a frame */
    bool missed;   /* a step sleeps because a replica here is too old */
    uint32_t start_method; /* index, or method_count: none */
    int64_t start_again;   /* when `start` is tried again */
    bool running; /* START was given */
    bool started; /* `start` has committed, and is known here */
    bool log_was_full;

    glas_writer journal; /* records not yet given to the driver */
    bool journal_given;
    uint64_t journal_end, durable;
    glas_writer snapshot;
    uint64_t snapshot_position; /* of the journal, when the snapshot was written */
    bool snapshot_wanted, snapshot_given;
    bool damaged; /* snapshot or journal did not load: never goes on from there */

    glas_link *links;
    uint32_t link_count, link_capacity; /* links[link_count] and those behind it are not in use */

    glas_call *calls;
    uint32_t call_count; /* slots, free ones included */
    uint32_t calls_used, calls_shipped;
    uint32_t calls_kept; /* of those used, calls that were given here: the driver waits for their ends */
    uint64_t call_serial;
    uint64_t waiting_reads[GLAS_MASK_WORDS]; /* what the calls waiting here read, all together */
    bool calls_awake;
    int64_t calls_again; /* when to try the waiting calls again, whatever changes */

    glas_step_state *steps;
    uint32_t step_count, step_next, steps_awake;

    glas_outgoing *outbox;
    uint32_t out_count, out_next, out_capacity;
    glas_writer out_bytes;
    glas_writer replies; /* of a reply given at once */
    int64_t wake_at, wake_said; /* when the next turn is due, and what the driver was told */
    uint64_t pumped;            /* log.next when the links were last pumped */
};

/* txn.c: begin, commit's housekeeping, undo */
void glas_txn_begin(glas_core *core, const glas_method_info *method, uint32_t started_at);
void glas_txn_finish(glas_core *core); /* keep what changed; old values live until the next begin */
void glas_txn_abort(glas_core *core);  /* undo everything */
bool glas_txn_settle(glas_core *core); /* drops what the last transaction left behind */
glas_change *glas_txn_change(glas_txn *txn, glas_change_kind kind, uint32_t state, uint32_t row);
glas_status glas_no_memory(glas_txn *txn);
glas_status glas_txn_error(glas_txn *txn, const char *message);
void *glas_txn_keep(glas_txn *txn, const void *bytes, size_t n); /* a copy in the arena, NULL: out of memory */
void glas_value_drop(glas_core *core, const glas_type *type, void *value);
glas_text glas_txn_text(glas_txn *txn, const glas_text *parts, size_t count); /* joined in the arena; empty where memory ran out */

/* state.c: tables and owners */
bool glas_states_open(glas_core *core);
void glas_states_close(glas_core *core);
uint32_t glas_owner(const glas_core *core, uint32_t state, const void *key);
bool glas_value_set(glas_txn *txn, uint32_t state, const void *key, const void *value); /* false: out of memory */
bool glas_counter_apply(glas_txn *txn, uint32_t state, const void *key, int64_t delta);
bool glas_bounded_apply(glas_txn *txn, uint32_t state, const void *key, uint32_t mirror, int64_t delta, bool *enough);
bool glas_mem_state(const glas_core *core, uint32_t state);

/* queue.c: read ends */
void *glas_ring_item(const glas_state *state, uint32_t nth);
bool glas_ring_push(glas_heap *heap, glas_state *state, const void *value);
void glas_ring_unpush(glas_heap *heap, glas_state *state);
bool glas_ring_take(glas_state *state);
void glas_ring_untake(glas_state *state);
void glas_ring_settle(glas_heap *heap, glas_state *state); /* drops what was taken */
void glas_ring_close(glas_heap *heap, glas_state *state);

/* entry.c: the form of an entry's effects */
typedef struct glas_filter {
    uint32_t to;   /* keep what this mirror needs; GLAS_NO_MIRROR: everything */
    uint32_t from; /* whose entry it is */
} glas_filter;
bool glas_entry_wants(const glas_core *core, uint32_t state, glas_filter filter);
/* Writes the running transaction's method and effects; *kept: are there any; *needed: are there any for another mirror. */
void glas_entry_put(glas_core *core, glas_writer *writer, bool *kept, bool *needed);
/* Copies the effects that `filter` keeps; *any says whether any was. False: malformed. */
bool glas_entry_filter(glas_core *core, glas_reader *reader, glas_writer *writer, glas_filter filter, bool *any);
/* Applies the effects of an entry of `from` as changes of the running transaction. BAD: malformed. Own entries only in recovery;
 * *needed then says whether other mirrors need any of it. */
typedef enum glas_applied { GLAS_APPLIED, GLAS_APPLY_BAD, GLAS_APPLY_NO_MEMORY, GLAS_APPLY_OTHER } glas_applied;
glas_applied glas_entry_apply(glas_core *core, glas_reader *reader, uint32_t from, bool *needed);

/* log.c: own log, frontiers, causes */
bool glas_log_open(glas_core *core);
void glas_log_close(glas_core *core);
void glas_log_put_causes(const glas_core *core, glas_writer *writer); /* what was applied since this mirror's last entry with causes */
/* `count` pairs of a mirror and by how much its part of the vector grows. */
bool glas_take_causes(const glas_core *core, glas_reader *reader, uint64_t count, uint64_t *vector);
void glas_put_causes(const glas_core *core, glas_writer *writer, const uint64_t *growth); /* count, pairs */
uint32_t glas_vector_lacks(const glas_core *core, const uint64_t *vector, uint32_t from); /* a mirror, not `from`, whose entries are missing here */
bool glas_vector_applied(const glas_core *core, const uint64_t *vector, uint32_t from);
bool glas_log_append(glas_core *core, const uint8_t *bytes, size_t n, int64_t time); /* the next own entry */
bool glas_log_append_run(glas_core *core, uint64_t count, int64_t time); /* the next own entries, which no other mirror needs */
void glas_log_unappend(glas_core *core, int64_t last_time); /* the newest entry; `last_time`: of the one before */
glas_own_entry *glas_log_entry(const glas_own_log *log, uint64_t number); /* what it is, or the run it is in */
uint64_t glas_log_end_of(const glas_own_log *log, uint64_t number);
void glas_log_cut(glas_core *core, uint64_t number); /* all other mirrors have the entries up to this one on disk */
void glas_log_acked(glas_core *core, uint32_t peer, uint64_t number);
uint64_t glas_log_acked_by_all(const glas_core *core);
/* What max_log bounds: bytes of entries and their places. An entry of n bytes may cost a second place, of a run behind it: runs never
 * have to be refused. */
#define GLAS_LOG_COST(n) ((n) + 2 * sizeof(glas_own_entry))
static inline uint64_t glas_log_held(const glas_own_log *log)
{
    return log->end - log->cut + log->count * (uint64_t)sizeof(glas_own_entry);
}
bool glas_log_has_room(const glas_core *core, size_t n);
bool glas_take_vector(const glas_core *core, glas_reader *reader, uint64_t *last);

/* Said where a snapshot or journal is of another roster, by whoever finds it. */
#define GLAS_OTHER_ROSTER \
    "it was written with other mirrors, another order of them, other places or another origin in the configuration; put those back, or start with new stores"

/* journal.c: records, recovery */
bool glas_journal_commit(glas_core *core, const uint8_t *entry, size_t n, const glas_call *shipped, const glas_writer *result);
bool glas_journal_apply(glas_core *core, uint32_t from, int64_t time, const uint8_t *bytes, size_t n);
bool glas_journal_skip(glas_core *core, uint32_t from, uint64_t count, const uint64_t *causes, int64_t time); /* causes: growth */
bool glas_journal_start(glas_core *core);
void glas_journal_fresh(glas_core *core, uint32_t from);
void glas_journal_acked(glas_core *core);
bool glas_journal_load(glas_core *core, glas_bytes bytes, uint64_t end, char *error, size_t error_size);
bool glas_session_keep(glas_core *core, uint32_t peer, uint64_t number, const uint8_t *result, size_t n);
glas_session *glas_session_find(glas_core *core, uint32_t peer, uint64_t number);
void glas_session_forget(glas_core *core, uint32_t peer, uint64_t number);
void glas_session_prune(glas_core *core, uint32_t peer, uint64_t below);
void glas_session_drop_closed(glas_core *core, uint32_t peer, uint64_t most);
void glas_session_none_due(glas_core *core, uint32_t peer);

/* snapshot.c */
void glas_snapshot_write(glas_core *core);
bool glas_snapshot_load(glas_core *core, glas_bytes bytes, char *error, size_t error_size);

/* outbox.c: what waits for glas_poll */
void glas_out_log(glas_core *core, int32_t level, const glas_text *parts, size_t count);
void glas_out_trace(glas_core *core, const glas_text *parts, size_t count);
void glas_out_close_link(glas_core *core, uint32_t number, glas_text reason);
void glas_out_bye(glas_core *core, uint32_t number, const uint8_t *frame, size_t n); /* last bytes before a close */
void glas_out_reply(glas_core *core, const glas_reply *reply, const glas_type *result_type);
bool glas_out_has_room(const glas_core *core);
bool glas_out_reserve(glas_core *core, uint32_t calls);
void glas_out_settle(glas_core *core);
bool glas_out_waiting(const glas_core *core);
void glas_out_release(glas_core *core);

/* call.c: one attempt of a method, its commit, its reply */
typedef enum glas_end { GLAS_ENDED, GLAS_WAITS, GLAS_MISSED } glas_end;
/* Runs it once. ENDED: reply is filled; WAITS, MISSED: txn.message and txn.missed_owner say for what. */
glas_end glas_call_attempt(glas_core *core, const glas_call *call, glas_reply *reply);
/* Makes the running transaction's changes an entry; anything but OK: nothing happened, the changes are undone. */
glas_status glas_commit(glas_core *core, const glas_call *shipped);
void glas_changed(glas_core *core); /* wakes who reads what the running transaction changed */
void glas_reply_abort(const glas_core *core, const glas_call *call, int32_t reason, glas_text message, glas_reply *reply);
void glas_reply_unknown(const glas_core *core, const glas_call *call, glas_text message, glas_reply *reply);
void glas_reply_result(glas_core *core, const glas_call *call, const void *result, glas_reply *reply);

/* frame.c: frames, how a link ends */
enum { FRAME_HELLO = 1, FRAME_ENTRIES, FRAME_ACK, FRAME_REQUEST, FRAME_REPLY, FRAME_DONE, FRAME_PING, FRAME_PONG, FRAME_BYE, FRAME_OPEN };
enum { FRAME_HEAD = 4 };
size_t glas_frame_begin(glas_writer *writer, uint8_t kind);
void glas_frame_end(glas_core *core, glas_link *link, glas_writer *writer, size_t begin);
/* What taking a frame came to. STALLED: its causes have not been applied yet, it stays where it is. */
typedef enum glas_taken { GLAS_TAKEN, GLAS_STALLED, GLAS_REFUSED_FRAME } glas_taken;
glas_link *glas_link_of(const glas_core *core, uint32_t peer); /* NULL: cut off */
glas_text glas_link_name(const glas_core *core, const glas_link *link);
void glas_link_close(glas_core *core, glas_link *link, glas_text reason);
void glas_link_refuse(glas_core *core, glas_link *link, const glas_text *parts, size_t count); /* tells the other end why, and closes */
void glas_link_release(glas_core *core, glas_link *link);

/* hello.c: the handshake */
void glas_put_hello(glas_core *core, glas_link *link);
glas_taken glas_take_hello(glas_core *core, glas_link *link, glas_reader *reader);
void glas_replace_link(glas_core *core, uint32_t peer); /* one link a mirror: the older one is closed */

/* link.c: streams, entries on the way */
void glas_link_up(glas_core *core, uint32_t number, glas_bytes name);
void glas_link_down(glas_core *core, uint32_t number);
void glas_link_bytes(glas_core *core, uint32_t number, glas_bytes bytes);
void glas_links_pump(glas_core *core);  /* sends what there is to send */
void glas_links_resume(glas_core *core); /* goes on with links that waited for causes */
void glas_links_turn(glas_core *core, int64_t *wake);
bool glas_links_open(glas_core *core);
void glas_links_close(glas_core *core);

/* ship.c: calls carried out by another mirror */
bool glas_may_ship(glas_core *core, const glas_call *call); /* false: too large, or out of memory */
bool glas_ship(glas_core *core, glas_call *call, uint32_t to);
void glas_ship_again(glas_core *core, glas_link *link); /* a new link: what waits there is to be sent on it */
void glas_ship_pump(glas_core *core, glas_link *link);  /* sends what there is room for */
bool glas_may_answer(glas_core *core, uint32_t peer);
glas_taken glas_take_open(glas_core *core, glas_link *link, glas_reader *reader);
glas_taken glas_take_request(glas_core *core, glas_link *link, glas_reader *reader);
glas_taken glas_take_reply(glas_core *core, glas_link *link, glas_reader *reader);
glas_taken glas_take_done(glas_core *core, glas_link *link, glas_reader *reader);
void glas_send_reply(glas_core *core, const glas_call *call, const glas_reply *reply);

/* sched.c: calls that come, wait and end; steps */
void glas_note_started(glas_core *core);
void glas_call_arrives(glas_core *core, const glas_call *call, glas_reply *reply);
void glas_call_ends(glas_core *core, glas_call *call, const glas_reply *reply);
void glas_call_cancel(glas_core *core, uint64_t id);
void glas_turn(glas_core *core, int64_t *wake);
bool glas_work_waits(const glas_core *core);
bool glas_sched_open(glas_core *core);
void glas_sched_close(glas_core *core);
void glas_wake_all(glas_core *core);
glas_call *glas_call_slot(glas_core *core);
void glas_call_free(glas_core *core, glas_call *call);

/* http.c: which method, which arguments */
bool glas_http_find(glas_core *core, glas_bytes verb, glas_bytes path, glas_call *call, glas_reply *reply);

/* inspect.c */
void glas_inspect(glas_core *core, glas_bytes what, glas_reply *reply);
bool glas_check_invariants(glas_core *core, glas_writer *writer);

/* small things used everywhere */
#define GLAS_T(literal) GLAS_TEXT(literal)
static inline glas_text glas_cstring(const char *s) { return (glas_text){s, (uint32_t)strlen(s)}; }
/* May one entry, request or reply be of so many bytes? A frame with nothing else in it then fits in a link's buffer. */
static inline bool glas_fits(const glas_core *core, size_t n)
{
    return n <= core->config.max_link_buffer / 2 - 1024 - 32 * (size_t)core->mirrors;
}
static inline bool glas_mask_has(const uint64_t *mask, uint32_t bit) { return mask[bit / 64] >> (bit % 64) & 1; }
static inline void glas_mask_add(uint64_t *mask, uint32_t bit) { mask[bit / 64] |= UINT64_C(1) << (bit % 64); }
static inline uint64_t glas_frontier(const glas_core *core, uint32_t mirror)
{
    return mirror == core->self ? core->log.next - 1 : core->peers[mirror].applied;
}

#endif
