/* SPDX-License-Identifier: Apache-2.0 */
/* GET /why/{trace id}: what became of a trace on this node, as text or with ?format=json.  It reads
 * whole files, so one at a time. */
#include "api.h"

#include <stdlib.h>

#include "fermata/store_why.h"

#define WHY_BYTES_MAX FM_MIB(1)

struct why_answering { /* owned by itself */
    struct api *api;
    struct net_request *request;
    struct store_why question;
    char tenant[TENANT_LEN_MAX + 1];
    struct pf_job job;
    struct fm_buf answer;
    int rc;
    struct fm_why why;
};

static void why_work(struct pf_job *job)
{
    struct why_answering *answering = FM_CONTAINER(job, struct why_answering, job);
    answering->rc = store_why_tell(&answering->question, &answering->answer, &answering->why);
    if (answering->rc >= 0 && answering->answer.failed)
        answering->rc = fm_fail(&answering->why, FM_ELIMIT, "the answer is too long");
}

static void why_done(struct pf_job *job)
{
    struct why_answering *answering = FM_CONTAINER(job, struct why_answering, job);
    answering->api->why_is_running = false;
    if (answering->rc < 0)
        api_answer_text(answering->request, 500, answering->why.text);
    else
        api_answer(answering->request, answering->rc == FM_NONE ? 404 : 200,
                   answering->question.json ? "application/json" : "text/plain; charset=utf-8",
                   fm_buf_slice(&answering->answer));
    fm_buf_fini(&answering->answer);
    free(answering);
}

void api_why(struct api *api, struct net_request *request, struct fm_slice wild)
{
    struct trace_id id;
    struct fm_why why = {""};
    if (trace_id_parse(wild, &id, &why) < 0) {
        api_answer_text(request, 400, why.text);
        return;
    }
    struct why_answering *answering = api->why_is_running ? NULL : calloc(1, sizeof *answering);
    if (!answering) {
        api_answer_text(request, 429, "another one is being answered; try again");
        return;
    }
    if (!api_resolve_tenant(api, request, answering->tenant)) {
        free(answering);
        return;
    }
    answering->api = api;
    answering->request = request;
    answering->question = (struct store_why){
        .platform = api->platform,
        .data_dir = api->options.data_dir,
        .tenant = answering->tenant,
        .id = id,
        .json = fm_slice_equal_text(net_request_view(request)->query, "format=json"),
    };
    fm_buf_init(&answering->answer, WHY_BYTES_MAX);
    answering->job = (struct pf_job){.work = why_work, .done = why_done, .lane = PF_LANE_QUERY};
    api->why_is_running = true;
    pf_job_submit(api->platform, &answering->job);
}
