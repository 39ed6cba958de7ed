/* SPDX-License-Identifier: Apache-2.0
 * Jobs, results, group commit and retries. Failure policy: see publish.h. */
#include "shard/publish.h"
#include "shard/crashpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_PIECES 4096 /* blocks of one job: 1 MiB, so that no step takes long */
#define READY_LOOKS 64u   /* flows that are asked for one that finds room */

static struct mono now(const struct publisher *p)
{
    return p->clock->mono(p->clock->ctx);
}

void publish_init(struct publisher *p)
{
    p->head_len = encoder_gzip_head(p->config->gzip, p->head);
    p->put = p->flows->list[LIST_WRITTEN].count;
    p->sync_due = now(p);
}

/* ---- giving up ---- */

static enum saver_state error_state(enum outfile_step step, bool streaming)
{
    switch (step) {
    case STEP_OPEN:
        return SAVER_FILEOPEN_ERROR;
    case STEP_MKDIR:
        return SAVER_MKDIR_ERROR;
    case STEP_WRITE:
        return streaming ? SAVER_STREAMING_ERROR : SAVER_WRITEFINAL_ERROR;
    case STEP_NONE:
    case STEP_SYNC:
    case STEP_RENAME:
    case STEP_SPACE:
        break;
    }
    return SAVER_WRITEFINAL_ERROR;
}

static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

static void name_job(const struct publisher *p, uint32_t idx, struct outfile_job *job)
{
    const struct flow *f = arena_flow(p->flows->arena, idx);
    const struct flow_name *name = arena_name(p->flows->arena, f->name);
    job->idx = idx;
    job->number = (uint64_t)f->generation << 32 | idx;
    job->uuid = name->uuid;
    job->uuid.text[UUID_MAX] = '\0';
    job->yyyymmdd = name->yyyymmdd;
}

static void give_up(struct publisher *p, uint32_t idx, enum cause cause, enum saver_state state)
{
    struct flows *fs = p->flows;
    struct arena_change ch = flows_change(fs, idx);
    struct outfile_job job = {.kind = OUTFILE_REMOVE};
    name_job(p, idx, &job);
    if (outfile_submit(p->out, &job) != SC_OK)
        log_debug("a staged file stays for the next sweep");
    flows_count(fs, &ch, ARENA_COUNTER(drops) + cause, ch.image.packets);
    flows_count(fs, &ch, ARENA_COUNTER(missed_packets) + state, ch.image.packets);
    ch.image.saver = (uint8_t)state;
    if (cause == CAUSE_DISK_FULL)
        ch.image.flags |= FLOW_DISK_FULL;
    counter_add(&fs->c->saver_errors[state - SAVER_ERROR_FIRST], 1);
    flows_tell_lost(fs, &ch.image, cause);
    (void)flows_empty(fs, &ch);
}

bool publish_make_room(struct publisher *p)
{
    uint32_t idx = p->flows->list[LIST_READY].head;
    if (!p->failing)
        return false;
    if (idx == ARENA_NONE) {
        idx = p->flows->list[LIST_WRITTEN].head;
        if (idx == ARENA_NONE)
            return false;
        p->taken++;
    }
    give_up(p, idx, p->refused, SAVER_WRITEFINAL_ERROR);
    return true;
}

/* ---- jobs ---- */

/* Points the job at the packed bytes from `from` on: at most WRITE_PIECES blocks; neighbours in memory become one
 * piece. Sets job->to. SC_OK, SC_ENOMEM, SC_EFORMAT. */
static int gather(const struct publisher *p, uint32_t idx, uint64_t from, struct outfile_job *job)
{
    struct iovec *iov = malloc((WRITE_PIECES + 2) * sizeof(*iov));
    uint32_t block = ARENA_NONE;
    size_t bytes;
    if (!iov)
        return SC_ENOMEM;
    int n = chunk_gather(p->flows->arena, idx, from, &block, iov + 1, WRITE_PIECES, &bytes);
    if (n < 0) {
        free(iov);
        return n;
    }
    int last = 0;
    iov[0] = (struct iovec){.iov_base = (void *)(uintptr_t)p->head, .iov_len = job->create ? p->head_len : 0};
    for (int i = 1; i <= n; i++) {
        if (last > 0 && (uint8_t *)iov[last].iov_base + iov[last].iov_len == (uint8_t *)iov[i].iov_base)
            iov[last].iov_len += iov[i].iov_len;
        else
            iov[++last] = iov[i];
    }
    struct iovec *less = realloc(iov, ((size_t)last + 2) * sizeof(*iov)); /* and one for the tail */
    job->iov = less ? less : iov;
    job->iov_count = last + 1;
    job->offset = job->create ? 0 : p->head_len + from;
    job->to = from + bytes;
    return SC_OK;
}

/* Submits the write of packed bytes from `from` on; with `finish` the last job of the file closes it. */
static void submit_write(struct publisher *p, uint32_t idx, uint64_t from, bool create, bool finish)
{
    const struct flow *f = arena_flow(p->flows->arena, idx);
    struct outfile_job job = {.kind = OUTFILE_WRITE, .create = create};
    name_job(p, idx, &job);
    int err = gather(p, idx, from, &job);
    if (err == SC_EFORMAT) {
        give_up(p, idx, CAUSE_ARENA_LOST, SAVER_WRITEFINAL_ERROR);
        return;
    }
    if (!err) {
        job.finish = finish && job.to == f->packed_len;
        if (job.finish)
            job.tail_len = (uint8_t)encoder_gzip_tail(p->config->gzip, f->crc, f->total, job.tail);
        err = outfile_submit(p->out, &job);
    }
    if (err) {
        free(job.iov);
        if (finish)
            flows_put(p->flows, LIST_READY, idx);
        return;
    }
    flows_take(p->flows, LANE_WORK, idx);
    p->flows->priv[idx].in_flight = 1;
}

static void set_state(struct publisher *p, uint32_t idx, enum saver_state state)
{
    struct arena_change ch = flows_change(p->flows, idx);
    if (ch.image.saver == state || ch.image.flags & FLOW_DISCARD)
        return;
    ch.image.saver = (uint8_t)state;
    flows_commit(p->flows, &ch);
}

void publish_stream(struct publisher *p, uint32_t idx)
{
    const struct flow *f = arena_flow(p->flows->arena, idx);
    if (f->name == ARENA_NONE || f->stage != FLOW_OPEN || p->flows->priv[idx].in_flight)
        return;
    if (f->packed_len < f->packed_base + ARENA_BLOCK || outfile_under_way(p->out) >= OUTFILE_JOBS / 2)
        return;
    if (now(p).ns < p->open_at.ns)
        return;
    if (f->packed_base == 0)
        set_state(p, idx, SAVER_WRITEPARTIAL);
    submit_write(p, idx, f->packed_base, f->packed_base == 0, false);
}

void publish_closed(struct publisher *p, uint32_t idx)
{
    if (!p->flows->priv[idx].in_flight)
        flows_put(p->flows, LIST_READY, idx);
}

/* Seals the rest of a flow of READY: the first that finds room for it, for one whose file is only to be tried again
 * needs none. ARENA_NONE: not now. */
static uint32_t seal_ready(struct publisher *p)
{
    struct flows *fs = p->flows;
    uint32_t idx = fs->list[LIST_READY].head;
    for (unsigned i = 0; idx != ARENA_NONE && i < READY_LOOKS; i++) {
        const struct flow *f = arena_flow(fs->arena, idx);
        uint32_t next = fs->priv[idx].link[LANE_WORK].next;
        p->sealed += p->config->gzip == GZIP_NONE ? 0 : f->total - f->sealed;
        int err = chunk_seal(p->sealer, idx, true);
        if (!err)
            return idx;
        if (err == SC_EFORMAT)
            give_up(p, idx, CAUSE_ARENA_LOST, SAVER_WRITEFINAL_ERROR);
        idx = next;
    }
    return ARENA_NONE;
}

/* Seals the rest of a flow and hands its file out. False: not now. Room comes with what is under way, and the reserve
 * sees to it that something is; if that has gone, one flow makes room for all others. */
static bool write_ready(struct publisher *p)
{
    struct flows *fs = p->flows;
    if (fs->list[LIST_READY].count == 0)
        return false;
    uint32_t idx = seal_ready(p);
    if (idx == ARENA_NONE) {
        if (fs->list[LIST_READY].count == 0 || fs->list[LIST_WRITTEN].count > 0 || outfile_under_way(p->out) > 0)
            return false;
        give_up(p, fs->list[LIST_READY].head, CAUSE_BUDGET, SAVER_WRITEFINAL_ERROR);
        return true;
    }
    struct arena_change ch = flows_change(fs, idx);
    if (ch.image.stage != FLOW_STAGED) {
        ch.image.stage = FLOW_STAGED;
        if (ch.image.flags & FLOW_GONE)
            ch.image.saver = SAVER_WRITEFINAL;
        flows_commit(fs, &ch);
    }
    CRASHPOINT("publish.staged");
    submit_write(p, idx, ch.image.packed_base, ch.image.packed_base == 0, true);
    return true;
}

static bool rename_written(struct publisher *p)
{
    uint32_t idx = p->flows->list[LIST_WRITTEN].head;
    struct outfile_job job = {.kind = OUTFILE_PUBLISH};
    if (idx == ARENA_NONE || (p->config->syncinterval_ns > 0 && p->taken >= p->synced))
        return false;
    name_job(p, idx, &job);
    if (outfile_submit(p->out, &job) != SC_OK)
        return false;
    flows_take(p->flows, LANE_WORK, idx);
    p->flows->priv[idx].in_flight = 1;
    p->taken++;
    return true;
}

static bool sync_written(struct publisher *p)
{
    struct outfile_job job = {.kind = OUTFILE_SYNC};
    if (p->config->syncinterval_ns == 0 || p->sync_under_way || p->put == p->asked)
        return false;
    bool company = p->flows->list[LIST_READY].count > 0 || outfile_under_way(p->out) > 0;
    if (now(p).ns < p->sync_due.ns && !p->hurry && (!p->finishing || company))
        return false;
    if (outfile_submit(p->out, &job) != SC_OK)
        return false;
    p->asked = p->put;
    p->sync_under_way = true;
    return true;
}

static void put_written(struct publisher *p, uint32_t idx)
{
    flows_put(p->flows, LIST_WRITTEN, idx);
    if (p->put == p->asked)
        p->sync_due.ns = now(p).ns + p->config->syncinterval_ns;
    p->put++;
}

void publish_make_day(struct publisher *p, uint32_t yyyymmdd)
{
    struct outfile_job job = {.kind = OUTFILE_DAY, .yyyymmdd = yyyymmdd};
    if (outfile_submit(p->out, &job) != SC_OK)
        log_debug("no time to make tomorrow's directory; its first file will");
}

/* ---- results ---- */

static const char *step_name(enum outfile_step step)
{
    static const char *const name[] = {
        "work", "create", "write", "make the directory of", "sync", "rename", "look at the disk of"};
    return name[step];
}

/* Counts and logs an error; no job for a while. */
static void note_error(struct publisher *p, const struct outfile_result *r)
{
    unsigned long more;
    struct mono t = now(p);
    counter_add(&p->flows->c->file_errors, 1);
    if (log_allow(is_full(r->error) ? &p->limit_full : &p->limit_error, t, &more))
        log_warn("cannot %s a file: %s; its packets are kept and tried again suppressed=%lu", step_name(r->step),
                 strerror(r->error), more);
    if (r->removed && p->on_removed)
        p->on_removed(p->ctx);
    p->failing = true;
    p->refused = is_full(r->error) ? CAUSE_DISK_FULL : CAUSE_DISK_ERROR;
    if (!p->hopeless)
        p->open_at.ns = t.ns + PUBLISH_RETRY_NS;
}

/* What was written is not there any more, or not known to be; the packets are still in memory. */
static void write_again(struct publisher *p, uint32_t idx)
{
    struct arena_change ch = flows_change(p->flows, idx);
    ch.image.stage = FLOW_STAGED;
    flows_commit(p->flows, &ch);
    flows_put(p->flows, LIST_READY, idx);
}

static void on_flow_error(struct publisher *p, const struct outfile_result *r)
{
    uint32_t idx = r->job.idx;
    const struct flow *f = arena_flow(p->flows->arena, idx);
    struct flow_private *priv = &p->flows->priv[idx];
    bool vanished = r->step == STEP_OPEN && r->error == ENOENT && f->packed_base > 0;
    note_error(p, r);
    if (p->finishing && (p->hopeless || ++priv->tries >= PUBLISH_TRIES)) {
        p->hopeless = p->hopeless || r->error == ENOSPC || r->error == EDQUOT || r->error == EROFS || r->error == EIO;
        vanished = true;
    }
    if (vanished)
        give_up(p, idx, p->refused, error_state(r->step, f->stage == FLOW_OPEN));
    else if (r->job.kind == OUTFILE_PUBLISH && r->step == STEP_OPEN)
        write_again(p, idx);
    else if (r->job.kind == OUTFILE_PUBLISH)
        put_written(p, idx);
    else if (f->stage != FLOW_OPEN)
        flows_put(p->flows, LIST_READY, idx);
}

static void on_write(struct publisher *p, const struct outfile_result *r)
{
    struct flows *fs = p->flows;
    uint32_t idx = r->job.idx;
    if (r->job.finish) {
        struct arena_change ch = flows_change(fs, idx);
        ch.image.stage = FLOW_WRITTEN;
        flows_commit(fs, &ch);
        CRASHPOINT("publish.whole");
        put_written(p, idx);
        return;
    }
    if (p->config->stream)
        chunk_drop_written(p->sealer, idx, r->job.to);
    const struct flow *f = arena_flow(fs->arena, idx);
    if (f->stage == FLOW_STAGED) {
        submit_write(p, idx, r->job.to, false, true);
        return;
    }
    set_state(p, idx, SAVER_STREAMING);
    if (f->stage == FLOW_OPEN)
        publish_stream(p, idx);
    else
        publish_closed(p, idx);
}

static void on_published(struct publisher *p, const struct outfile_result *r)
{
    struct flows *fs = p->flows;
    struct arena_change ch = flows_change(fs, r->job.idx);
    flows_count(fs, &ch, ARENA_COUNTER(published), ch.image.packets);
    flows_count(fs, &ch, ARENA_COUNTER(files), 1);
    flows_count(fs, &ch, ARENA_COUNTER(flows_saved), 1);
    uint64_t bytes = chunk_file_bytes(&ch.image, p->config->gzip);
    flows_count(fs, &ch, ARENA_COUNTER(file_bytes), bytes);
    if (r->suffix > 0)
        flows_count(fs, &ch, ARENA_COUNTER(suffixed), 1);
    char path[OUTFILE_PATH];
    (void)outfile_path(path, p->config, r->job.yyyymmdd, &r->job.uuid, r->suffix);
    reporter_saved(fs->reporter, &ch.image.key, &r->job.uuid, path, ch.image.packets, bytes);
    if (!config_reads_files(p->config))
        sli_add(&fs->c->file_delay, p->clock->mono(p->clock->ctx).ns - ch.image.last_clock);
    (void)flows_empty(fs, &ch);
    CRASHPOINT("publish.counted");
    if (p->on_saved && !r->was_published)
        p->on_saved(p->ctx, path);
}

/* After a failed sync nothing that it covered is known to be on disk: what is still in memory is written again. */
static void on_synced(struct publisher *p, const struct outfile_result *r)
{
    struct flows *fs = p->flows;
    p->sync_under_way = false;
    if (!r->error) {
        p->synced = p->asked;
        return;
    }
    note_error(p, r);
    p->asked = p->synced > p->taken ? p->synced : p->taken;
    p->sync_due = p->open_at;
    bool last_try = p->finishing && ++p->sync_tries >= PUBLISH_TRIES;
    if (p->config->stream && !last_try)
        return;
    for (; p->put > p->asked; p->put--) {
        uint32_t idx = fs->list[LIST_WRITTEN].tail;
        if (last_try) {
            give_up(p, idx, p->refused, SAVER_WRITEFINAL_ERROR);
            continue;
        }
        write_again(p, idx);
    }
}

static void on_result(struct publisher *p, const struct outfile_result *r)
{
    bool of_flow = r->job.kind == OUTFILE_WRITE || r->job.kind == OUTFILE_PUBLISH;
    if (r->job.kind == OUTFILE_SYNC) {
        on_synced(p, r);
        return;
    }
    if (r->job.kind == OUTFILE_SALVAGE) {
        leftovers_result(p->leftovers, r);
        return;
    }
    if (r->job.kind == OUTFILE_SPACE || r->job.kind == OUTFILE_RETENTION) {
        space_result(p->space, r);
        return;
    }
    if (!of_flow) {
        if (r->error)
            note_error(p, r);
        return;
    }
    struct flow_private *priv = &p->flows->priv[r->job.idx];
    priv->in_flight = 0;
    if (r->was_published && !priv->renamed) { /* somebody has removed it: nobody but us renames it */
        struct outfile_result gone = *r;
        gone.error = ENOENT;
        gone.step = STEP_OPEN;
        on_flow_error(p, &gone);
        return;
    }
    if (r->error) {
        priv->renamed |= r->job.kind == OUTFILE_PUBLISH && r->step == STEP_RENAME;
        on_flow_error(p, r);
        return;
    }
    p->failing = false;
    if (r->job.kind == OUTFILE_WRITE)
        on_write(p, r);
    else
        on_published(p, r);
}

bool publish_step(struct publisher *p, unsigned most, uint64_t sealed)
{
    struct outfile_result r;
    bool moved = false;
    for (unsigned i = 0; i < most && outfile_result(p->out, &r) == SC_OK; i++) {
        on_result(p, &r);
        moved = true;
    }
    if (p->flows->list[LIST_READY].count == 0 && p->flows->list[LIST_WRITTEN].count == 0)
        return moved;
    if (now(p).ns < p->open_at.ns)
        return moved;
    /* Half the queue stays for renames and results of streams, so that neither side starves the other. */
    p->sealed = 0;
    for (unsigned i = 0; i < most && p->sealed < sealed; i++) {
        if (outfile_under_way(p->out) >= OUTFILE_JOBS / 2 || !write_ready(p))
            break;
        moved = true;
    }
    moved |= sync_written(p);
    for (unsigned i = 0; i < most && outfile_under_way(p->out) < OUTFILE_JOBS - 8 && rename_written(p); i++)
        moved = true;
    return moved;
}

void publish_finish(struct publisher *p)
{
    p->finishing = true;
}

bool publish_idle(const struct publisher *p)
{
    return p->flows->list[LIST_READY].count == 0 && p->flows->list[LIST_WRITTEN].count == 0 &&
           outfile_under_way(p->out) == 0;
}
