/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_encode - canonical OTLP bytes as what a Jaeger client sends.
 *
 * Made so that the daemon's translation brings the same OTLP back.  What Jaeger cannot carry is
 * lost: nanoseconds (Thrift), arrays and maps (they become JSON text), empty values, the type of
 * the attributes service.name, schema URLs, scope attributes, flags but the sampled bit, a link's
 * attributes and trace state, dropped counts of events, links, scopes and resources.  A link that
 * comes back carries opentracing.ref_type.
 */
#ifndef TOOLS_JAEGER_ENCODE_H
#define TOOLS_JAEGER_ENCODE_H

#include "fermata/base.h"
#include "fermata/thrift.h"

#define JAEGER_DATAGRAM_BYTES_MAX 65000 /* what agents read */

/* Appends.  FM_EUNSUPPORTED: more than one resource, which one Thrift batch cannot carry;
 * FM_ENOMEM. */
FM_MUST int jaeger_put_thrift(struct fm_slice otlp, enum thrift_encoding encoding,
                              struct fm_buf *target);
/* Calls of emitBatch of at most bytes_max bytes each, longer only if one span is; each as its
 * length and its number of spans (u32, little-endian), then its bytes.  FM_ELIMIT: a span is
 * longer than JAEGER_DATAGRAM_BYTES_MAX; FM_ENOMEM. */
FM_MUST int jaeger_put_datagrams(struct fm_slice otlp, enum thrift_encoding encoding,
                                 size_t bytes_max, struct fm_buf *target);
#define JAEGER_DATAGRAM_HEAD_BYTES 8u
/* PostSpansRequest. */
FM_MUST int jaeger_put_pb(struct fm_slice otlp, struct fm_buf *target);

#endif
