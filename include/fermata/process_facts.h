/* SPDX-License-Identifier: Apache-2.0 */
/* process_facts - attributes of the resource, read from what a machine says of itself.  Part of
 * process; who reads the files and asks the cloud: src/serve_detect.c.
 *
 * Keys follow OpenTelemetry's semantic conventions.  The first one to say something is believed.
 * Whatever cannot be read is passed over: a fact that is missing harms nobody.
 */
#ifndef FERMATA_PROCESS_FACTS_H
#define FERMATA_PROCESS_FACTS_H

#include "fermata/process.h"

#define PROCESS_FACTS_MAX 128u

struct process_facts {
    struct fm_arena arena; /* owns keys and values */
    struct process_pair pairs[PROCESS_FACTS_MAX];
    size_t count;
};
void process_facts_init(struct process_facts *facts);
void process_facts_fini(struct process_facts *facts);
/* Nothing happens if the value is empty or not printable UTF-8, or the key is there already. */
void process_facts_add(struct process_facts *facts, const char *key, struct fm_slice value);

/* OTEL_RESOURCE_ATTRIBUTES: key=value,key=value with percent-encoding. */
void process_facts_environment(struct process_facts *facts, struct fm_slice text);
/* /etc/os-release: os.name, os.version, os.description. */
void process_facts_os_release(struct process_facts *facts, struct fm_slice text);
/* /proc/self/cgroup, either version: what is asked for. */
enum process_cgroup {
    PROCESS_CGROUP_SYSTEMD = 1,
    PROCESS_CGROUP_CONTAINER = 2,
    PROCESS_CGROUP_K8S = 4
};
void process_facts_cgroup(struct process_facts *facts, struct fm_slice text, unsigned wanted);
/* /proc/self/mountinfo: container.id, where the cgroup's namespace hides it. */
void process_facts_mountinfo(struct process_facts *facts, struct fm_slice text);
/* Labels as the downward API mounts them: key="value", a line each. */
void process_facts_labels(struct process_facts *facts, struct fm_slice text);
/* Instance metadata, JSON: AWS's identity document, GCP's /computeMetadata/v1/?recursive=true,
 * Azure's /metadata/instance.  False: it is none of that. */
bool process_facts_aws(struct process_facts *facts, struct fm_slice json);
bool process_facts_gcp(struct process_facts *facts, struct fm_slice json);
bool process_facts_azure(struct process_facts *facts, struct fm_slice json);

#endif
