/* The whole test harness: a check that names where it failed and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define check(condition) check_at((condition), #condition, __FILE__, __LINE__)

static inline void check_at(int ok, const char *what, const char *file, int line)
{
    if (ok) return;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    exit(1);
}

/* A test runs, and its name is printed only if it ends. */
#define run(test) (test(), printf("ok %s\n", #test))

/* Numbers that look random and are the same in every run (xorshift64*, Vigna 2016). */
static inline unsigned long long check_random(unsigned long long *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ULL;
}

#endif
