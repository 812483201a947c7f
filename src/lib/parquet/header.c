/* SPDX-License-Identifier: Apache-2.0 */
/* Page headers.  Sizes are checked for sign here, against the chunk by the caller. */
#include "file.h"

static int header_int(struct thrift_reader *reader, const struct thrift_field *field,
                      int64_t value_max, int64_t *ret_value)
{
    int64_t value;
    if (field->type != THRIFT_I32 && field->type != THRIFT_I64 && field->type != THRIFT_I16)
        return FM_EMALFORMED;
    int rc = thrift_int(reader, &value);
    if (rc < 0)
        return rc;
    if (value < 0 || value > value_max)
        return FM_EMALFORMED;
    *ret_value = value;
    return FM_OK;
}

static int header_u32(struct thrift_reader *reader, const struct thrift_field *field,
                      uint32_t *ret_value)
{
    int64_t value;
    int rc = header_int(reader, field, INT32_MAX, &value);
    if (rc == FM_OK)
        *ret_value = (uint32_t)value;
    return rc;
}

static int header_u8(struct thrift_reader *reader, const struct thrift_field *field,
                     uint8_t *ret_value)
{
    int64_t value;
    int rc = header_int(reader, field, UINT8_MAX, &value);
    if (rc == FM_OK)
        *ret_value = (uint8_t)value;
    return rc;
}

/* DataPageHeader and DictionaryPageHeader: their first two fields agree. */
static int header_v1_field(struct thrift_reader *reader, const struct thrift_field *field,
                           struct pq_page_header *header, uint32_t *seen)
{
    *seen |= field->id >= 1 && field->id <= 8 ? 1u << field->id : 0;
    bool data = header->type == PQ_PAGE_DATA;
    switch (field->id) {
    case 1:
        return header_u32(reader, field, &header->entry_count);
    case 2:
        return header_u8(reader, field, &header->encoding);
    case 3:
        return data ? header_u8(reader, field, &header->def_encoding)
                    : thrift_skip(reader, field->type);
    case 4:
        return data ? header_u8(reader, field, &header->rep_encoding)
                    : thrift_skip(reader, field->type);
    default:
        return thrift_skip(reader, field->type);
    }
}

static int header_v2_field(struct thrift_reader *reader, const struct thrift_field *field,
                           struct pq_page_header *header, uint32_t *seen)
{
    *seen |= field->id >= 1 && field->id <= 8 ? 1u << field->id : 0;
    switch (field->id) {
    case 1:
        return header_u32(reader, field, &header->entry_count);
    case 2:
        return header_u32(reader, field, &header->null_count);
    case 3:
        return header_u32(reader, field, &header->row_count);
    case 4:
        return header_u8(reader, field, &header->encoding);
    case 5:
        return header_u32(reader, field, &header->def_bytes);
    case 6:
        return header_u32(reader, field, &header->rep_bytes);
    case 7:
        if (field->type != THRIFT_TRUE && field->type != THRIFT_FALSE)
            return FM_EMALFORMED;
        header->compressed = field->type == THRIFT_TRUE;
        return FM_OK;
    default:
        return thrift_skip(reader, field->type);
    }
}

static int header_inner(struct thrift_reader *reader, struct pq_page_header *header)
{
    static const uint32_t wanted[] = {
        [PQ_PAGE_DATA] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4,
        [PQ_PAGE_DICTIONARY] = 1u << 1 | 1u << 2,
        [PQ_PAGE_DATA_V2] = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6,
    };
    uint32_t seen = 0;
    int rc = thrift_struct_begin(reader);
    if (rc < 0)
        return rc;
    for (;;) {
        struct thrift_field field;
        rc = thrift_field_next(reader, &field);
        if (rc < 0)
            return rc;
        if (rc == FM_END)
            break;
        rc = header->type == PQ_PAGE_DATA_V2 ? header_v2_field(reader, &field, header, &seen)
                                             : header_v1_field(reader, &field, header, &seen);
        if (rc < 0)
            return rc;
    }
    return (seen & wanted[header->type]) == wanted[header->type] ? FM_OK : FM_EMALFORMED;
}

/* Which field of PageHeader describes a page of this type. */
static int header_inner_id(uint8_t type)
{
    return type == PQ_PAGE_DATA         ? 5
           : type == PQ_PAGE_DICTIONARY ? 7
           : type == PQ_PAGE_DATA_V2    ? 8
                                        : -1;
}

static int header_field(struct thrift_reader *reader, const struct thrift_field *field,
                        struct pq_page_header *header, uint32_t *seen)
{
    int64_t crc;
    int rc;
    *seen |= field->id >= 1 && field->id <= 8 ? 1u << field->id : 0;
    switch (field->id) {
    case 1:
        return header_u8(reader, field, &header->type);
    case 2:
        return header_u32(reader, field, &header->plain_bytes);
    case 3:
        return header_u32(reader, field, &header->stored_bytes);
    case 4:
        if (field->type != THRIFT_I32)
            return FM_EMALFORMED;
        rc = thrift_int(reader, &crc);
        if (rc < 0)
            return rc;
        header->crc = (uint32_t)crc;
        header->has_crc = true;
        return FM_OK;
    default:
        /* Ids ascend in every writer, so the type is known before the struct that depends on it. */
        if (*seen & 1u << 1 && field->id == header_inner_id(header->type) &&
            field->type == THRIFT_STRUCT)
            return header_inner(reader, header);
        if (field->id == 5 || field->id == 7 || field->id == 8)
            return FM_EMALFORMED;
        return thrift_skip(reader, field->type);
    }
}

int pq_page_header_read(struct fm_slice input, struct pq_page_header *ret_header,
                        struct fm_why *why)
{
    struct pq_page_header header = {.type = UINT8_MAX, .compressed = true};
    struct thrift_reader reader;
    uint32_t seen = 0;
    thrift_reader_init(&reader, input);
    int rc = thrift_struct_begin(&reader);
    while (rc == FM_OK) {
        struct thrift_field field;
        rc = thrift_field_next(&reader, &field);
        if (rc == FM_OK)
            rc = header_field(&reader, &field, &header, &seen);
    }
    if (rc < 0)
        return fm_fail(why, rc, "the page header is malformed or cut");
    if ((seen & 14) != 14 || header_inner_id(header.type) < 0 ||
        !(seen & 1u << header_inner_id(header.type)))
        return fm_fail(why, FM_EMALFORMED, "the page header lacks its type, sizes or description");
    header.header_bytes = (uint32_t)(input.len - reader.rest.len);
    *ret_header = header;
    return FM_OK;
}
