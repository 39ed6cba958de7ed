/* SPDX-License-Identifier: Apache-2.0
 * libpcap behind one door.
 * Failure policy: every failure is a code and one line of text; nothing is logged here. Text that may hold foreign
 * bytes (error messages about savefiles, interface names) is made printable. The packet path allocates nothing. */
#include "dispatcher/capture/capture.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dispatcher/capture/kernelfilter.h"
#include "shared/frame.h"
#include "shared/pcaptime.h"

#define FILE_BUFFER ((size_t)256 * 1024)

struct capture {
    pcap_t *pcap;
    int linktype;
    bool live;
    bool micro; /* the interface has no nanoseconds */
    bool filtered;
    struct bpf_program filter;
    struct kernelfilter *kernel; /* of an interface: the one that is being made */
    uint64_t read, unfiltered;   /* packets so far; of those to come, how many may be from before the first filter */
    struct bpf_program first;    /* which was this one, if it is not `filter` */
    struct capture_stats stats;
    struct pcap_stat last;
    char *file_buffer;
    capture_read_fn *reader;
    void *reader_ctx;
    capture_cb *cb; /* of the dispatch that runs */
    void *cb_ctx;
};

/* Values below 104 differ between the two worlds (pcap-common.c of libpcap; tcpdump.org/linktypes.html); of those,
 * frame.h knows raw IP only. */
int capture_linktype_of(int dlt)
{
    switch (dlt) {
    case DLT_NULL:
        return LINKTYPE_NULL;
    case DLT_EN10MB:
        return LINKTYPE_ETHERNET;
    case DLT_PPP:
        return LINKTYPE_PPP;
    case DLT_RAW:
        return LINKTYPE_RAW;
    case DLT_LOOP:
        return LINKTYPE_LOOP;
    case DLT_LINUX_SLL:
        return LINKTYPE_LINUX_SLL;
    case DLT_LINUX_SLL2:
        return LINKTYPE_LINUX_SLL2;
    case DLT_IPV4:
        return LINKTYPE_IPV4;
    case DLT_IPV6:
        return LINKTYPE_IPV6;
    default:
        return dlt;
    }
}

static void say(char error[CAPTURE_ERROR], const char *what, const char *detail)
{
    snprintf(error, CAPTURE_ERROR, "%s%s%s", what, *what && *detail ? ": " : "", detail);
    for (char *p = error; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

static struct capture *capture_new(void)
{
    return calloc(1, sizeof(struct capture));
}

void capture_close(struct capture *c)
{
    if (!c)
        return;
    if (c->filtered)
        pcap_freecode(&c->filter);
    pcap_freecode(&c->first);
    if (c->pcap)
        pcap_close(c->pcap); /* closes the stdio stream as well */
    free(c->kernel);
    free(c->file_buffer);
    free(c);
}

static int check_linktype(struct capture *c, char error[CAPTURE_ERROR])
{
    int dlt = pcap_datalink(c->pcap);
    c->linktype = capture_linktype_of(dlt);
    if (frame_linktype_known(c->linktype))
        return SC_OK;
    char text[96];
    const char *name = pcap_datalink_val_to_name(dlt);
    snprintf(text, sizeof text, "%s (%d)", name ? name : "without a name", c->linktype);
    say(error, "its link type is not known here", text);
    return SC_EVERSION;
}

/* ---- interfaces ---- */

static int activate_error(struct capture *c, int rc, char error[CAPTURE_ERROR])
{
    const char *detail = pcap_geterr(c->pcap);
    say(error, pcap_statustostr(rc), detail ? detail : "");
    switch (rc) {
    case PCAP_ERROR_PERM_DENIED:
    case PCAP_ERROR_PROMISC_PERM_DENIED:
        return SC_EPERM;
    case PCAP_ERROR_NO_SUCH_DEVICE:
        return SC_ENOENT;
    case PCAP_ERROR_IFACE_NOT_UP:
        return SC_EAGAIN;
    default:
        return SC_ESYS;
    }
}

static int set_up(struct capture *c, uint32_t snaplen, uint64_t buffer_bytes, char error[CAPTURE_ERROR])
{
    int buffer = buffer_bytes > INT32_MAX ? INT32_MAX : (int)buffer_bytes;
    if (pcap_set_snaplen(c->pcap, (int)snaplen) != 0 || pcap_set_promisc(c->pcap, 0) != 0 ||
        pcap_set_timeout(c->pcap, CAPTURE_TIMEOUT_MS) != 0 || pcap_set_immediate_mode(c->pcap, 0) != 0 ||
        pcap_set_buffer_size(c->pcap, buffer) != 0) {
        say(error, "libpcap refuses a setting", pcap_geterr(c->pcap));
        return SC_ESYS;
    }
    (void)pcap_set_tstamp_precision(c->pcap, PCAP_TSTAMP_PRECISION_NANO); /* asked below what it became */
    int rc = pcap_activate(c->pcap);
    if (rc < 0)
        return activate_error(c, rc, error);
    c->micro = pcap_get_tstamp_precision(c->pcap) != PCAP_TSTAMP_PRECISION_NANO;
    char text[PCAP_ERRBUF_SIZE] = "";
    if (pcap_setnonblock(c->pcap, 1, text) != 0) {
        say(error, "", text);
        return SC_ESYS;
    }
    return check_linktype(c, error);
}

int capture_open_interface(const char *name, uint32_t snaplen, uint64_t buffer_bytes, struct capture **out,
                           char error[CAPTURE_ERROR])
{
    char text[PCAP_ERRBUF_SIZE] = "";
    struct capture *c = capture_new();
    if (!c) {
        say(error, "out of memory", "");
        return SC_ESYS;
    }
    int rc = SC_ESYS;
    c->live = true;
    c->kernel = malloc(sizeof *c->kernel);
    c->pcap = pcap_create(name, text);
    if (c->pcap && !c->kernel)
        say(error, "out of memory", "");
    else if (c->pcap)
        rc = set_up(c, snaplen, buffer_bytes, error);
    else
        say(error, "", text);
    if (rc != SC_OK) {
        capture_close(c);
        return rc;
    }
    *out = c;
    return SC_OK;
}

int capture_fanout(struct capture *c, int *group, char error[CAPTURE_ERROR])
{
    int fd = pcap_fileno(c->pcap), made = 0;
    unsigned flags = *group < 0 ? PACKET_FANOUT_FLAG_UNIQUEID : 0; /* the kernel chooses one that nobody else has */
    unsigned what = (unsigned)(*group < 0 ? 0 : *group) | (PACKET_FANOUT_HASH | flags) << 16;
    socklen_t len = sizeof made;
    if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &what, sizeof what) != 0 ||
        (*group < 0 && getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &made, &len) != 0)) {
        say(error, "packets cannot be shared with other captures", strerror(errno));
        return SC_ESYS;
    }
    if (*group < 0)
        *group = made & 0xffff;
    return SC_OK;
}

/* ---- savefiles ---- */

static ssize_t stream_read(void *cookie, char *buf, size_t n)
{
    struct capture *c = cookie;
    return c->reader(c->reader_ctx, buf, n);
}

int capture_open_savefile(capture_read_fn *reader, void *ctx, struct capture **out, char error[CAPTURE_ERROR])
{
    char text[PCAP_ERRBUF_SIZE] = "";
    struct capture *c = capture_new();
    FILE *stream = NULL;
    int rc = SC_ENOMEM;
    if (!c)
        goto out;
    c->reader = reader;
    c->reader_ctx = ctx;
    c->file_buffer = malloc(FILE_BUFFER);
    stream = fopencookie(c, "r", (cookie_io_functions_t){.read = stream_read});
    if (!c->file_buffer || !stream || setvbuf(stream, c->file_buffer, _IOFBF, FILE_BUFFER) != 0)
        goto out;
    rc = SC_EFORMAT;
    c->pcap = pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, text);
    if (!c->pcap)
        goto out;
    stream = NULL; /* libpcap's now */
    rc = check_linktype(c, error);
    if (rc != SC_OK)
        text[0] = '\0';
out:
    if (rc == SC_OK) {
        *out = c;
        return SC_OK;
    }
    if (rc == SC_ENOMEM)
        say(error, "out of memory", "");
    else if (rc == SC_EFORMAT)
        say(error, "", text);
    if (stream)
        fclose(stream);
    capture_close(c);
    return rc;
}

/* ---- filter ---- */

static int compile(struct capture *c, const char *text, struct bpf_program *out, char error[CAPTURE_ERROR])
{
    if (pcap_compile(c->pcap, out, text, 1, PCAP_NETMASK_UNKNOWN) == 0)
        return SC_OK;
    say(error, "", pcap_geterr(c->pcap));
    return SC_EFORMAT;
}

int capture_filter_text(const char *text, char error[CAPTURE_ERROR])
{
    struct capture c = {.pcap = pcap_open_dead(DLT_EN10MB, FRAME_MAX_CAPLEN)};
    if (!c.pcap)
        return SC_ENOMEM;
    int rc = capture_filter_check(&c, text, error);
    pcap_close(c.pcap);
    return rc;
}

int capture_filter_check(struct capture *c, const char *text, char error[CAPTURE_ERROR])
{
    struct bpf_program program;
    int rc = compile(c, text, &program, error);
    if (rc == SC_OK)
        pcap_freecode(&program);
    return rc;
}

/* Not by pcap_setfilter: see kernelfilter.h. */
static int filter_in_kernel(struct capture *c, const struct bpf_program *program, char error[CAPTURE_ERROR])
{
    static_assert(sizeof(struct bpf_insn) == sizeof(struct sock_filter), "one instruction under two names");
    const struct sock_filter *insn = (const struct sock_filter *)(const void *)program->bf_insns;
    int rc = kernelfilter_make(c->kernel, insn, program->bf_len, c->linktype);
    if (rc != SC_OK) {
        say(error, "the filter is too long for the kernel, or reads what it does not have", "");
        return rc;
    }
    rc = kernelfilter_attach(pcap_fileno(c->pcap), c->kernel);
    if (rc != SC_OK) {
        say(error, "the kernel does not take the filter",
            errno == ENOMEM ? "there is no room for it (net.core.optmem_max)" : strerror(errno));
        return rc;
    }
    if (!c->filtered) { /* some of these came behind it already, which harms nobody */
        struct capture_stats now = capture_stats(c);
        c->unfiltered = now.received - now.dropped - c->read;
    }
    return SC_OK;
}

int capture_filter(struct capture *c, const char *text, char error[CAPTURE_ERROR])
{
    struct bpf_program program;
    int rc = compile(c, text, &program, error);
    if (rc != SC_OK)
        return rc;
    if (c->live)
        rc = filter_in_kernel(c, &program, error);
    if (rc != SC_OK) {
        pcap_freecode(&program);
        return rc;
    }
    if (c->filtered && c->unfiltered > 0 && !c->first.bf_insns)
        c->first = c->filter; /* by which the kernel took some that are still to be read */
    else if (c->filtered)
        pcap_freecode(&c->filter);
    c->filter = program;
    c->filtered = true;
    return SC_OK;
}

bool capture_matches(const struct capture *c, const struct captured *p)
{
    struct pcap_pkthdr h = {.caplen = p->caplen, .len = p->wire_len};
    return !c->filtered || pcap_offline_filter(&c->filter, &h, p->bytes) != 0 ||
           pcap_offline_filter(&c->first, &h, p->bytes) != 0;
}

/* ---- packets ---- */

static void on_packet(u_char *user, const struct pcap_pkthdr *h, const u_char *bytes)
{
    struct capture *c = (struct capture *)(void *)user;
    struct captured p = {
        .bytes = bytes, .caplen = h->caplen, .wire_len = h->len, .ts = pcaptime_wall(&h->ts, c->micro ? 1000 : 1)};
    c->read++;
    if (c->unfiltered > 0) {
        c->unfiltered--;
        if (!capture_matches(c, &p))
            return;
    }
    c->cb(c->cb_ctx, &p);
}

int capture_dispatch(struct capture *c, int max, capture_cb *cb, void *ctx, char error[CAPTURE_ERROR])
{
    c->cb = cb;
    c->cb_ctx = ctx;
    int n = pcap_dispatch(c->pcap, max, on_packet, (u_char *)(void *)c);
    if (n >= 0)
        return n;
    say(error, "", pcap_geterr(c->pcap));
    return c->live ? SC_ESYS : SC_EFORMAT;
}

struct capture_stats capture_stats(struct capture *c)
{
    struct pcap_stat now;
    if (c->live && pcap_stats(c->pcap, &now) == 0) {
        /* unsigned 32-bit differences: right across a wrap */
        c->stats.received += (uint32_t)(now.ps_recv - c->last.ps_recv);
        c->stats.dropped += (uint32_t)(now.ps_drop - c->last.ps_drop);
        c->stats.if_dropped += (uint32_t)(now.ps_ifdrop - c->last.ps_ifdrop);
        c->last = now;
    }
    return c->stats;
}

int capture_linktype(const struct capture *c)
{
    return c->linktype;
}

int capture_fd(const struct capture *c)
{
    return c->live ? pcap_get_selectable_fd(c->pcap) : -1;
}
