/* The same transfers at a Redis server, by several clients at once from one thread: each sends MULTI, DECRBY, INCRBY, EXEC in one write
 * and waits for all four replies. Arguments: a unix socket, the number of clients. Redis does not look whether enough is there. */
#include "drive.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 1024
#define REPLY_LINES 6 /* +OK, +QUEUED, +QUEUED, *2, :n, :n */

typedef struct client {
    int socket;
    int lines; /* of the reply that have come */
} client;

static client clients[MAX_CLIENTS];
static int client_count, ready;

static int bulk(char *to, const char *text) { return sprintf(to, "$%zu\r\n%s\r\n", strlen(text), text); }

static int command(char *to, const char *verb, uint32_t account)
{
    char key[16];
    snprintf(key, sizeof key, "a%u", account);
    int n = sprintf(to, "*3\r\n");
    n += bulk(to + n, verb);
    n += bulk(to + n, key);
    return n + bulk(to + n, "1");
}

static void start_transfer(client *one)
{
    char text[256];
    uint32_t from = random_below(ACCOUNTS), to = (from + 1 + random_below(ACCOUNTS - 1)) % ACCOUNTS;
    int n = sprintf(text, "*1\r\n$5\r\nMULTI\r\n");
    n += command(text + n, "DECRBY", from);
    n += command(text + n, "INCRBY", to);
    n += sprintf(text + n, "*1\r\n$4\r\nEXEC\r\n");
    one->lines = 0;
    must(write(one->socket, text, (size_t)n) == n, "write");
}

/* True: the reply is complete. */
static int receive(client *one)
{
    char text[512];
    ssize_t n = read(one->socket, text, sizeof text);
    must(n > 0, "read");
    must(text[0] != '-', "no error of the server");
    for (ssize_t i = 0; i < n; i++) one->lines += text[i] == '\n';
    return one->lines >= REPLY_LINES;
}

static void repeat(long count)
{
    struct epoll_event events[MAX_CLIENTS];
    long started = 0, done = 0;
    for (; started < client_count && started < count; started++) start_transfer(&clients[started]);
    while (done < count) {
        int n = epoll_wait(ready, events, MAX_CLIENTS, -1);
        for (int i = 0; i < n; i++) {
            client *one = events[i].data.ptr;
            if (!receive(one)) continue;
            done++;
            if (started < count) {
                started++;
                start_transfer(one);
            }
        }
    }
}

static int connected(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    must(strlen(path) < sizeof address.sun_path, "a shorter path of the socket");
    strcpy(address.sun_path, path);
    must(connect(made, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    return made;
}

int main(int count, char **arguments)
{
    must(count == 3, "arguments: a socket, a number of clients");
    client_count = atoi(arguments[2]);
    must(client_count > 0 && client_count <= MAX_CLIENTS, "number of clients");
    ready = epoll_create1(0);
    for (int i = 0; i < client_count; i++) {
        clients[i].socket = connected(arguments[1]);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        must(epoll_ctl(ready, EPOLL_CTL_ADD, clients[i].socket, &event) == 0, "epoll");
    }
    return serve(repeat);
}
