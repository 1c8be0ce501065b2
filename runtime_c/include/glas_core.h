/* The core's one door: glas_step takes one input, glas_poll drains what came of it.
 *
 * The core is sans-IO: it opens no socket or file, reads no clock, starts no thread and uses no memory but the given
 * allocator's. Bytes, times and seeds come in; bytes and deadlines go out. One core is used by one thread at a time. Two cores fed the
 * same inputs give the same outputs.
 *
 * The durability barrier is data: an output names the journal position that must be on disk before it may leave; the
 * driver holds it back until then (docs/consistency.md 5).
 */
#ifndef GLAS_CORE_H
#define GLAS_CORE_H

#include <stddef.h>
#include <stdint.h>

/* The part between the two marker lines is also read by cffi: declarations and plain numeric #defines only. */
/* cffi: begin */

typedef struct glas_core glas_core; /* one mirror's core */
typedef struct glas_app glas_app;   /* a compiled app; glas_app.h says what is in it */

/* Bytes that somebody else owns. Those in an output are valid until the next glas_step or glas_poll. */
typedef struct glas_bytes {
    const char *p;
    size_t n;
} glas_bytes;

/* Memory, given by the driver. `resize(context, old, old_size, new_size)` works like realloc (old NULL: allocate; new_size 0:
 * free, returns NULL) and may return NULL for "no": the old block is then untouched. */
typedef struct glas_allocator {
    void *context;
    void *(*resize)(void *context, void *old, size_t old_size, size_t new_size);
} glas_allocator;

/* One mirror of the roster. `places` has bit i set where it stands at the app's place number i. */
typedef struct glas_mirror {
    glas_bytes name;
    uint64_t places;
} glas_mirror;

/* What a core is told once. The roster (order, names, places, origin) is the same at all mirrors; the handshake compares it. */
typedef struct glas_config {
    const glas_mirror *mirrors; /* copied */
    uint32_t mirror_count;      /* 1 to 1000 */
    uint32_t self;              /* index of this mirror */
    uint32_t origin;            /* index of the origin */
    uint64_t seed;              /* for hashing; changes no result */
    int32_t durable;            /* 0: no journal comes out and every barrier is 0 (an app in memory) */
    int32_t trace;              /* 1: GLAS_OUT_TRACE lines come out */
    size_t max_heap;            /* bytes this core may hold; beyond it transactions end with "out of memory" */
    size_t max_text;            /* bytes of one text, argument or request body */
    size_t max_log;             /* bytes of own entries, and of their places, kept for mirrors that have not acknowledged them */
    size_t max_link_buffer;     /* bytes of one link's unprocessed input and of its unsent output */
    uint32_t max_waiting;       /* calls that may wait at once */
    int64_t ping_us;            /* how often a link is probed */
    int64_t silent_us;          /* a link this long without a byte is closed */
} glas_config;

/* What glas_step takes; `a`, `b`, `c` are bytes whose meaning each kind gives. */
#define GLAS_IN_SNAPSHOT_LOADED 1 /* a = a snapshot, first thing after glas_open; at most once */
#define GLAS_IN_JOURNAL_LOADED 2  /* a = journal bytes as they came out, in order; position = where they end */
#define GLAS_IN_START 3           /* recovery is over, work begins; needed once, before anything below */
#define GLAS_IN_TURN 4            /* time has passed, or GLAS_MORE was said: run steps, timers */
#define GLAS_IN_LINK_UP 5         /* link = a number the driver picks, not in use; a = name of the mirror dialled, empty if dialled by it */
#define GLAS_IN_LINK_DOWN 6       /* link */
#define GLAS_IN_LINK_BYTES 7      /* link, a = bytes received, any cut of the stream */
#define GLAS_IN_DISK_DONE 8       /* position: the journal is on disk up to there */
#define GLAS_IN_CALL 9            /* call, method, args = the method's C argument record, timeout_us, reply */
#define GLAS_IN_HTTP 10           /* call, a = verb, b = path with query, c = body, timeout_us, reply */
#define GLAS_IN_RPC 11            /* call, a = method name, b = arguments as a JSON object, timeout_us, reply */
#define GLAS_IN_INSPECT 12        /* call, a = "status" or "state NAME" or "plan"; the reply's body is JSON; no transaction */
#define GLAS_IN_CANCEL 13         /* call: nobody waits for it any longer */
#define GLAS_IN_SNAPSHOT 14       /* write a snapshot: a GLAS_OUT_SNAPSHOT comes out */

/* How a call ended. */
#define GLAS_COMMITTED 0 /* done; durable once the barrier is on disk */
#define GLAS_ABORTED 1   /* nothing happened; `reason` says why */
#define GLAS_UNKNOWN 2   /* sent to another mirror, and no answer in time: it may or may not have happened */
#define GLAS_PENDING 3   /* not ended: a GLAS_OUT_REPLY will follow */

/* Why a call was aborted; numbers are stable. */
#define GLAS_WHY_NONE 0
#define GLAS_WHY_FAILED 1    /* the method failed */
#define GLAS_WHY_ERROR 2     /* overflow, assertion, `error`, memory, an oversized value: an error of this transaction */
#define GLAS_WHY_REFUSED 3   /* needs a unit whose owner is out of reach; the message names both */
#define GLAS_WHY_TIMEOUT 4   /* waited until its time was over */
#define GLAS_WHY_BAD_INPUT 5 /* arguments that do not fit, malformed JSON or path */
#define GLAS_WHY_NO_METHOD 6 /* no such method or path */
#define GLAS_WHY_BAD_VERB 7  /* the path exists with other verbs */
#define GLAS_WHY_BUSY 8      /* too many waiting calls, or the log for absent mirrors is full: try again later */
#define GLAS_WHY_STARTING 9  /* `start` has not committed yet, or is not known here */

/* The answer to a call. Pointers are valid until the next glas_step or glas_poll. */
typedef struct glas_reply {
    uint64_t call;
    uint64_t barrier;   /* journal position that must be on disk before this leaves */
    int32_t outcome;    /* GLAS_COMMITTED ... */
    int32_t reason;     /* GLAS_WHY_..., where aborted */
    int32_t status;     /* HTTP status that fits: of the app's own reply, or 200 400 404 405 409 500 503 504 */
    int32_t more;       /* the step's return value: GLAS_HAS_OUTPUT | GLAS_MORE */
    const void *result; /* the method's C result record, where committed and called by GLAS_IN_CALL */
    glas_bytes content_type;
    glas_bytes body;    /* of HTTP, RPC and INSPECT: what to send */
    glas_bytes message; /* where not committed: one line for people */
} glas_reply;

typedef struct glas_input {
    int32_t kind;
    uint32_t link;
    uint32_t method; /* index into the app's methods */
    int64_t now;     /* microseconds since 1970, of the driver's clock; the core never lets time run backwards */
    uint64_t call;   /* the driver's number for the call, never reused while pending */
    int64_t timeout_us;
    uint64_t position;
    const void *args;
    glas_bytes a, b, c;
    glas_reply *reply; /* filled before glas_step returns; outcome PENDING if the answer comes later. May be NULL: always comes later */
} glas_input;

/* What glas_poll gives. */
#define GLAS_OUT_JOURNAL 1    /* bytes to append, position = where they end; disk done is reported by GLAS_IN_DISK_DONE */
#define GLAS_OUT_SNAPSHOT 2   /* bytes = the whole state at `position`; what the journal holds up to there is not needed any more */
#define GLAS_OUT_LINK_BYTES 3 /* link, bytes, barrier; those of one link leave in order */
#define GLAS_OUT_LINK_CLOSE 4 /* link, bytes = reason; GLAS_IN_LINK_DOWN is not expected for it */
#define GLAS_OUT_REPLY 5      /* reply */
#define GLAS_OUT_LOG 6        /* level, bytes: a line for the operator's log, barrier */
#define GLAS_OUT_TRACE 7      /* bytes: a line of what happened and why */
#define GLAS_OUT_WAKE 8       /* at: give a GLAS_IN_TURN by then, if nothing comes before; replaces earlier ones */

#define GLAS_LOG_DEBUG 10
#define GLAS_LOG_INFO 20
#define GLAS_LOG_WARNING 30
#define GLAS_LOG_ERROR 40

typedef struct glas_output {
    int32_t kind;
    uint32_t link;
    int32_t level;
    int64_t at;
    uint64_t barrier;
    uint64_t position;
    glas_bytes bytes;
    glas_reply reply;
} glas_output;

/* glas_step returns these bits. */
#define GLAS_HAS_OUTPUT 1 /* glas_poll has something */
#define GLAS_MORE 2       /* steps could run now: give a GLAS_IN_TURN soon */

/* A new core, or NULL with a line in `error` (always terminated) if the configuration does not fit the app. */
glas_core *glas_open(const glas_app *app, const glas_config *config, const glas_allocator *allocator, char *error, size_t error_size);

/* Gives all memory back. */
void glas_close(glas_core *core);

/* Takes one input. Never fails as a whole: what is wrong with an input comes back as a reply, a closed link or a log line. For
 * GLAS_IN_SNAPSHOT_LOADED, _JOURNAL_LOADED and _START the reply says whether the bytes were sound (message names the offset). */
int32_t glas_step(glas_core *core, const glas_input *input);

/* Fills one output and returns 1, or returns 0 if there is none. */
int32_t glas_poll(glas_core *core, glas_output *output);

/* cffi: end */

#endif
