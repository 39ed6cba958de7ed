/* SPDX-License-Identifier: Apache-2.0
 * The contract between the supervisor and its children: one SOCK_SEQPACKET socket (fd 3 of a child), fixed messages,
 * exit statuses. Each message is exactly struct proto_msg; fds ride along by SCM_RIGHTS and are named by roles.
 * The end of the socket means: the supervisor is gone; drain, finish, publish, exit. */
#ifndef SHARED_PROTO_H
#define SHARED_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"

#define PROTO_VERSION 3u
#define PROTO_FD 3 /* where a child finds the attach socket */

enum proto_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,    /* could not go on; the reason was the last line */
    EXIT_USAGE = 2,     /* wrong usage */
    EXIT_PANIC = 70,    /* a bug of ours */
    EXIT_TEMPFAIL = 75, /* try again later: slot taken, supervisor away */
    EXIT_CONFIG = 78,   /* configuration; never retried */
};

enum proto_type {
    /* supervisor -> child */
    PROTO_FDS = 1,  /* roles[fd_count] with as many fds; several may come */
    PROTO_ATTACHED, /* all fds have come; value = number of them in total */
    PROTO_START,    /* dispatcher: every shard is ready, open the capture */
    PROTO_STOP,     /* drain, finish, publish, exit. Dispatcher: capture `value` ms more first, then drain, END */
    /* child -> supervisor */
    PROTO_READY,    /* attached, subscribed, replay complete */
    PROTO_SAVED,    /* text = path of a published file below datadir (only if config.report_files) */
    PROTO_FAILED,   /* text = why, one line; the child exits with status `value` next */
    PROTO_KILL,     /* dispatcher: shard `value` wrote an impossible index, kill it */
    PROTO_KEEP,     /* hub: keep these fds for my successor (roles as given); replaces fds of the same role */
    PROTO_WATCHING, /* dispatcher: text = names of the captured interfaces, blank-separated */
    /* supervisor -> child, again */
    PROTO_LEAVE,  /* exit 0 with everything as it is (SIGTERM says the same): a successor goes on */
    PROTO_DRAIN,  /* shard: take nothing more out of the ring, publish every flow, exit 0; the successor reads on */
    PROTO_ANSWER, /* hub: text = the answer to the PROTO_ASK with the same `value` */
    /* child -> supervisor, again */
    PROTO_ASK,  /* hub: text = a command of ctl.sock that is for the supervisor, value = a number for its answer */
    PROTO_JOIN, /* first message on attach.sock: slot = the wanted one, text = layout (shared/layout.h) */
    /* supervisor -> whoever joins */
    PROTO_REFUSED, /* text = why, value = the exit status to end with */
    /* child -> supervisor, again */
    PROTO_TAKEN, /* dispatcher that is to take over from one that runs: all packets come to it now; PROTO_START follows
                    once that one has gone */
    PROTO_REMOVED, /* shard: datadir or staging was removed; nothing can be saved until there is another */
    PROTO_TYPES_END
};

enum proto_role {
    ROLE_CONFIG = 1, /* struct config, read-only memory */
    ROLE_DISPATCHER_PAGE,
    ROLE_HUB_PAGE,
    ROLE_SUPERVISOR_PAGE,
    ROLE_RING,        /* index = shard */
    ROLE_SHARD_PAGE,  /* index = shard */
    ROLE_ARENA,       /* to the shard that owns it */
    ROLE_DOORBELL,    /* index = shard; the dispatcher's end or the shard's end */
    ROLE_DATADIR,     /* O_PATH|O_DIRECTORY */
    ROLE_STAGINGDIR,  /* O_RDONLY|O_DIRECTORY; carries the lock: keep it open */
    ROLE_SAVEFILE,    /* index = position on the command line */
    ROLE_EVENTS_FILE, /* -uuid.events, seekable */
    ROLE_HTTP,        /* listening socket */
    ROLE_JOURNAL,     /* memory of the hub's event journal */
    ROLE_EVENTSOCKET, /* a connection that outlives a hub */
    ROLE_DESTROYFEED, /* the kernel's feed of destroyed sockets; outlives a hub */
    ROLE_REPORTS,     /* index = shard; the hub's end or the shard's end (report.h) */
    ROLE_SERVE,       /* listening socket of -events.serve */
    ROLE_LAST = ROLE_SERVE
};

#define PROTO_FDS_PER_MSG 64 /* below the kernel's SCM_MAX_FD 253 */
#define PROTO_TEXT 512
#define PROTO_SLOT_HEIR 1u /* of a dispatcher that is to take over from one that runs */

/* Index of ROLE_RING: the ring from dispatcher thread `dispatcher` to a shard. */
static inline unsigned proto_ring_index(unsigned dispatcher, unsigned shard)
{
    return dispatcher * 64 + shard; /* SHARDS_MAX */
}

struct proto_fd_name {
    uint16_t role;
    uint16_t index;
};

struct proto_msg {
    uint32_t version;
    uint16_t type;
    uint16_t fd_count;
    uint32_t slot;       /* shard number; 0 for the others; PROTO_SLOT_HEIR */
    uint32_t generation; /* of the child that is meant; a message for another one is ignored and logged */
    int64_t value;
    struct proto_fd_name names[PROTO_FDS_PER_MSG];
    char text[PROTO_TEXT]; /* NUL-terminated */
};

/* Sends one message with msg->fd_count fds. Sets version. Never blocks: SC_EFULL when the socket is full, SC_EOF when
 * the other side is gone, SC_ESYS. The fds stay the caller's. */
int proto_send(int sock, struct proto_msg *msg, const int *fds) SC_MUST_CHECK;

/* Receives one message; fds (at most PROTO_FDS_PER_MSG, close-on-exec) become the caller's. SC_OK, SC_EAGAIN, SC_EOF,
 * SC_EVERSION, SC_EFORMAT (wrong size, types or counts; received fds are closed), SC_ESYS. */
int proto_recv(int sock, struct proto_msg *msg, int fds[PROTO_FDS_PER_MSG]) SC_MUST_CHECK;

/* What a child holds after attaching. */
struct proto_fd {
    uint16_t role;
    uint16_t index;
    int fd;
};
struct proto_attachment {
    uint32_t slot;
    uint32_t generation;
    size_t count;
    struct proto_fd *fds;
};

/* Child side: blocks (at most 5 s) until PROTO_ATTACHED has come on `sock`. SC_OK or an error as of proto_recv;
 * SC_EAGAIN after 5 s. Free with proto_attachment_free, which closes the fds that were not taken. */
int proto_attach(int sock, struct proto_attachment *out) SC_MUST_CHECK;
void proto_attachment_free(struct proto_attachment *a);

/* For a shard that nobody of ours started: connects to the socket at path, asks for the slot and waits (at most 5 s)
 * for the supervisor's decision. EXIT_DONE: *sock_r is what fd 3 would be, and proto_attach comes next. Else the status
 * to exit with, and a line in why: EXIT_TEMPFAIL (nobody there, slot taken), EXIT_CONFIG (unknown slot, other version,
 * not allowed). */
int proto_join(const char *path, uint32_t slot, const char *layout, int *sock_r, char why[PROTO_TEXT]) SC_MUST_CHECK;

/* Takes (removes) an fd out of the attachment; -1 if there is none of that role and index. */
int proto_take_fd(struct proto_attachment *a, enum proto_role role, unsigned index);

/* Sends a message without fds: type, value, text (NULL = empty). For children. Failures other than SC_EFULL mean that
 * the supervisor is gone, which the reader of the socket notices anyway. */
int proto_tell(int sock, const struct proto_attachment *self, enum proto_type type, int64_t value, const char *text);

/* The same with an fd that the supervisor is to keep for this child's successor (PROTO_KEEP); it stays the caller's. */
int proto_keep(int sock, const struct proto_attachment *self, enum proto_role role, int fd);

#endif
