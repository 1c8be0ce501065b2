/* A tiny app written by hand, with every kind of state and an rpc method for each operation. */
#ifndef TINY_APP_H
#define TINY_APP_H

#include "glas_app.h"

/* The argument of every rpc method, and the result of each. */
typedef struct tiny_args {
    glas_text text;
    int64_t n;
} tiny_args;

typedef struct tiny_result {
    int64_t n;
    glas_text text;
} tiny_result;

enum { /* states */
    S_TITLE = 0, /* cell Text, at hq */
    S_RATE,      /* cell Int, at hq, `@mirror stale` one second */
    S_STOCK,     /* dict Text of Int, a row lives in the shop named before its slash */
    S_SALES,     /* queue of Text, read by `step book` at hq */
    S_BOOKED,    /* dict Text of Int, at hq: how often `book` saw an item */
    S_REVENUE,   /* counter */
    S_VOUCHER,   /* bounded */
    S_RIGHTS,    /* dict Text of bounded */
    S_VISITS,    /* dict Text of counter */
    S_TICKETS,   /* queue of Text, read by `take_ticket` at hq */
    S_MEMO,      /* mem cell Int, at hq */
    S_NEWS,      /* cell Text, at the first of the depots, stale ten seconds */
    S_COUNT
};

enum { /* methods */
    M_START = 0, M_BOOK, M_TITLE, M_GET_TITLE, M_RATE, M_GET_RATE, M_STOCK, M_GET_STOCK, M_SELL, M_EARN, M_GAIN, M_SPEND, M_VISIT, M_NOTE, M_TICKET,
    M_TAKE, M_PICK, M_TOTAL, M_UNDO, M_OVERFLOW, M_BIG, M_BOTH, M_POKE, M_GROW, M_ECHO, M_SUMS, M_NEWS, M_GET_NEWS, M_CHURN, M_HTTP_SELL, M_HTTP_WAIT, M_BOUND, M_COUNT
};

#define TINY_STALE_US 1000000
#define TINY_STEPS_PAST 3 /* what M_UNDO's `n` says beyond it is an error */

extern const glas_app tiny_app;

#endif
