/* SPDX-License-Identifier: Apache-2.0
 * Failure policy: see savefile.h. */
#include "dispatcher/ctl/capfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pcap/pcap.h>

#include "dispatcher/ctl/gzfile.h"
#include "shared/frame.h"
#include "shared/pcaptime.h"

struct capfile {
    pcap_t *pcap;
    int linktype;
    const char *path;
};

/* Of those that the parser knows, libpcap numbers raw IP alone otherwise than files do. */
static int linktype_of(int dlt)
{
    return dlt == DLT_RAW ? LINKTYPE_RAW : dlt;
}

struct capfile *capfile_open_fd(int fd, const char *path, char error[CAPFILE_ERROR])
{
    char text[PCAP_ERRBUF_SIZE] = "";
    struct capfile *s = calloc(1, sizeof *s);
    FILE *stream = gzfile_reader(fd);
    if (!s || !stream) {
        (void)snprintf(error, CAPFILE_ERROR, "cannot read %.300s: %s", path, strerror(errno));
        if (stream)
            (void)fclose(stream);
        free(s);
        return NULL;
    }
    s->path = path;
    s->pcap = pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, text);
    if (!s->pcap) {
        (void)snprintf(error, CAPFILE_ERROR, "%.240s: %.250s", path, text);
        (void)fclose(stream);
        free(s);
        return NULL;
    }
    s->linktype = linktype_of(pcap_datalink(s->pcap));
    if (!frame_linktype_known(s->linktype)) {
        const char *name = pcap_datalink_val_to_name(pcap_datalink(s->pcap));
        (void)snprintf(error, CAPFILE_ERROR, "%.300s: link type %s (%d) is not supported", path,
                       name ? name : "without a name", s->linktype);
        capfile_close(s);
        return NULL;
    }
    return s;
}

struct capfile *capfile_open(const char *path, char error[CAPFILE_ERROR])
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return capfile_open_fd(fd, path, error);
    (void)snprintf(error, CAPFILE_ERROR, "cannot read %.300s: %s", path, strerror(errno));
    return NULL;
}

void capfile_close(struct capfile *s)
{
    if (!s)
        return;
    pcap_close(s->pcap); /* and the stream */
    free(s);
}

int capfile_linktype(const struct capfile *s)
{
    return s->linktype;
}

uint32_t capfile_snaplen(const struct capfile *s)
{
    int snaplen = pcap_snapshot(s->pcap);
    return snaplen > 0 && snaplen <= FRAME_MAX_CAPLEN ? (uint32_t)snaplen : FRAME_MAX_CAPLEN;
}

int capfile_next(struct capfile *s, struct capfile_packet *out, char error[CAPFILE_ERROR])
{
    struct pcap_pkthdr *head;
    const u_char *bytes;
    int rc = pcap_next_ex(s->pcap, &head, &bytes);
    if (rc == PCAP_ERROR_BREAK)
        return SC_EOF;
    if (rc != 1) {
        (void)snprintf(error, CAPFILE_ERROR, "%.240s: %.250s", s->path, pcap_geterr(s->pcap));
        return SC_EFORMAT;
    }
    uint32_t caplen = head->caplen < head->len ? head->caplen : head->len;
    *out = (struct capfile_packet){
        .ts = pcaptime_wall(&head->ts, 1), /* nanoseconds, as asked for */
        .caplen = caplen < FRAME_MAX_CAPLEN ? caplen : FRAME_MAX_CAPLEN,
        .wire_len = head->len,
        .bytes = bytes,
    };
    return SC_OK;
}
