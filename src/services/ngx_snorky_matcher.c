
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Matching changes of data with the filters of many subscriptions: asks each
 * group that may match once for a document, and calls for the items of those
 * that do.  Owns the index; the items are their owner's, datasync, the only
 * caller.
 */


#include "ngx_snorky_matcher_index.h"


#define NGX_SNORKY_MATCHER_MIN_HITS  16


/* a group that matches; when it is delivered, with the next of its items */

typedef struct {
    ngx_snorky_matcher_group_t   *group;
    ngx_queue_t                  *next;
    ngx_snorky_matcher_kind_e     kind;
} ngx_snorky_matcher_hit_t;


/* precedes a value that had to be made canonical for the document */

typedef struct ngx_snorky_matcher_copy_s  ngx_snorky_matcher_copy_t;

struct ngx_snorky_matcher_copy_s {
    ngx_snorky_matcher_copy_t    *next;
};


struct ngx_snorky_matcher_s {
    ngx_snorky_matcher_index_t    index;
    ngx_uint_t                    count;    /* of items */
    uint64_t                      added;    /* items, ever */

    /* the run; there is always room for all groups */

    ngx_snorky_matcher_hit_t     *hits;
    ngx_uint_t                    nhits;
    ngx_uint_t                    max_hits;

    uint64_t                      document; /* counts them */
    ngx_snorky_json_node_t       *root;
    ngx_snorky_matcher_copy_t    *copies;
};


typedef struct {
    ngx_snorky_matcher_t         *matcher;
    ngx_snorky_matcher_group_t   *group;
} ngx_snorky_matcher_question_t;


static ngx_int_t ngx_snorky_matcher_reserve(ngx_snorky_matcher_t *matcher);
static void ngx_snorky_matcher_release(ngx_snorky_matcher_t *matcher);

static ngx_int_t ngx_snorky_matcher_look(ngx_snorky_matcher_t *matcher,
    ngx_str_t *data, ngx_snorky_matcher_kind_e kind);
static ngx_int_t ngx_snorky_matcher_look_up(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_kind_e kind);
static ngx_int_t ngx_snorky_matcher_ask_all(ngx_snorky_matcher_t *matcher,
    ngx_queue_t *groups, ngx_snorky_matcher_kind_e kind);
static ngx_int_t ngx_snorky_matcher_ask(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_group_t *group);
static ngx_int_t ngx_snorky_matcher_answer(void *ctx, ngx_uint_t n,
    ngx_str_t *value);
static ngx_int_t ngx_snorky_matcher_value(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_path_t *path);
static ngx_int_t ngx_snorky_matcher_read_value(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_path_t *path);
static void ngx_snorky_matcher_free_copies(ngx_snorky_matcher_t *matcher);

static void ngx_snorky_matcher_deliver(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_pt call, void *ctx);
static void ngx_snorky_matcher_sift(ngx_snorky_matcher_hit_t *hits,
    ngx_uint_t n, ngx_uint_t i);


ngx_snorky_matcher_t *
ngx_snorky_matcher_create(ngx_log_t *log)
{
    uint64_t                     random;
    ngx_snorky_matcher_t        *matcher;
    ngx_snorky_matcher_index_t  *index;

    matcher = ngx_calloc(sizeof(ngx_snorky_matcher_t), log);
    if (matcher == NULL) {
        return NULL;
    }

    index = &matcher->index;

    index->log = log;

    ngx_queue_init(&index->indexed);
    ngx_queue_init(&index->scanned);

    index->json = ngx_snorky_json_create();
    index->keys = ngx_snorky_json_create();

    if (index->json == NULL
        || index->keys == NULL
        || ngx_snorky_random(&random, sizeof(uint64_t)) != NGX_OK)
    {
        ngx_snorky_matcher_destroy(matcher);
        return NULL;
    }

    index->secret = ngx_snorky_matcher_secret(random);

    return matcher;
}


void
ngx_snorky_matcher_destroy(ngx_snorky_matcher_t *matcher)
{
    ngx_snorky_matcher_release(matcher);

    if (matcher->index.json) {
        ngx_snorky_json_destroy(matcher->index.json);
    }

    if (matcher->index.keys) {
        ngx_snorky_json_destroy(matcher->index.keys);
    }

    ngx_free(matcher);
}


ngx_uint_t
ngx_snorky_matcher_count(ngx_snorky_matcher_t *matcher)
{
    return matcher->count;
}


ngx_int_t
ngx_snorky_matcher_add(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_item_t *item, ngx_str_t *filter)
{
    ngx_int_t                    rc;
    ngx_snorky_matcher_group_t  *group;

    if (ngx_snorky_matcher_reserve(matcher) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_snorky_matcher_index_group(&matcher->index, filter, &group);
    if (rc != NGX_OK) {
        return rc;
    }

    item->group = group;
    item->order = matcher->added++;

    ngx_queue_insert_tail(&group->items, &item->queue);

    matcher->count++;

    return NGX_OK;
}


/* so that one group more can match */

static ngx_int_t
ngx_snorky_matcher_reserve(ngx_snorky_matcher_t *matcher)
{
    ngx_uint_t                 max;
    ngx_snorky_matcher_hit_t  *hits;

    if (matcher->index.groups.count < matcher->max_hits) {
        return NGX_OK;
    }

    max = ngx_max(matcher->max_hits * 2, NGX_SNORKY_MATCHER_MIN_HITS);

    hits = ngx_alloc(max * sizeof(ngx_snorky_matcher_hit_t),
                     matcher->index.log);
    if (hits == NULL) {
        return NGX_ERROR;
    }

    ngx_free(matcher->hits);

    matcher->hits = hits;
    matcher->max_hits = max;

    return NGX_OK;
}


void
ngx_snorky_matcher_remove(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_item_t *item)
{
    ngx_snorky_matcher_group_t  *group;

    group = item->group;
    item->group = NULL;

    ngx_queue_remove(&item->queue);

    if (ngx_queue_empty(&group->items)) {
        ngx_snorky_matcher_index_remove(&matcher->index, group);
    }

    matcher->count--;

    if (matcher->count == 0) {
        ngx_snorky_matcher_release(matcher);
    }
}


/* what is as large as the matcher once was */

static void
ngx_snorky_matcher_release(ngx_snorky_matcher_t *matcher)
{
    ngx_snorky_matcher_index_finish(&matcher->index);

    ngx_free(matcher->hits);

    matcher->hits = NULL;
    matcher->max_hits = 0;
}


ngx_int_t
ngx_snorky_matcher_run(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_kind_e type, ngx_str_t *new_data, ngx_str_t *old_data,
    ngx_snorky_matcher_pt call, void *ctx)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_snorky_matcher_hit_t  *hit;

    if (matcher->count == 0) {
        return NGX_OK;
    }

    matcher->nhits = 0;
    rc = NGX_OK;

    if (type != NGX_SNORKY_MATCHER_DELETE) {
        rc = ngx_snorky_matcher_look(matcher, new_data,
                                     NGX_SNORKY_MATCHER_INSERT);
    }

    if (rc == NGX_OK && type != NGX_SNORKY_MATCHER_INSERT) {
        rc = ngx_snorky_matcher_look(matcher, old_data,
                                     NGX_SNORKY_MATCHER_DELETE);
    }

    for (i = 0; i < matcher->nhits; i++) {
        hit = &matcher->hits[i];

        hit->kind = (ngx_snorky_matcher_kind_e) hit->group->matched;
        hit->next = ngx_queue_head(&hit->group->items);

        hit->group->matched = 0;
    }

    if (rc == NGX_OK) {
        ngx_snorky_matcher_deliver(matcher, call, ctx);
    }

    return rc;
}


/* what matches one of the two documents gets the bit */

static ngx_int_t
ngx_snorky_matcher_look(ngx_snorky_matcher_t *matcher, ngx_str_t *data,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_int_t                    rc;
    ngx_snorky_matcher_index_t  *index;

    index = &matcher->index;

    matcher->document++;
    matcher->copies = NULL;

    /* without a path there is nothing to look for */

    if (index->paths.count) {
        rc = ngx_snorky_json_parse(index->json, data,
                                   NGX_SNORKY_JSON_ANY_DEPTH, index->depth,
                                   &matcher->root);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_snorky_matcher_look_up(matcher, kind);

    if (rc == NGX_OK) {
        rc = ngx_snorky_matcher_ask_all(matcher, &index->scanned, kind);
    }

    ngx_snorky_matcher_free_copies(matcher);

    return rc;
}


/* the groups that are found by the values of the document */

static ngx_int_t
ngx_snorky_matcher_look_up(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_int_t                   rc;
    ngx_queue_t                *q, *paths;
    ngx_snorky_matcher_path_t  *path;
    ngx_snorky_matcher_term_t  *term;

    paths = &matcher->index.indexed;

    for (q = ngx_queue_head(paths);
         q != ngx_queue_sentinel(paths);
         q = ngx_queue_next(q))
    {
        path = ngx_queue_data(q, ngx_snorky_matcher_path_t, queue);

        rc = ngx_snorky_matcher_value(matcher, path);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        term = ngx_snorky_matcher_index_term(&matcher->index, path,
                                             &path->value);

        if (term
            && ngx_snorky_matcher_ask_all(matcher, &term->groups, kind)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_matcher_ask_all(ngx_snorky_matcher_t *matcher, ngx_queue_t *groups,
    ngx_snorky_matcher_kind_e kind)
{
    ngx_int_t                    rc;
    ngx_queue_t                 *q;
    ngx_snorky_matcher_group_t  *group;

    for (q = ngx_queue_head(groups);
         q != ngx_queue_sentinel(groups);
         q = ngx_queue_next(q))
    {
        group = ngx_queue_data(q, ngx_snorky_matcher_group_t, queue);

        rc = ngx_snorky_matcher_ask(matcher, group);

        if (rc == NGX_DECLINED) {
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (group->matched == 0) {
            matcher->hits[matcher->nhits++].group = group;
        }

        group->matched |= kind;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_snorky_matcher_ask(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_group_t *group)
{
    ngx_snorky_matcher_question_t  question;

    /* by its term a group was found; there may be nothing else to it */

    if (group->filter == NULL || (group->term && group->n == 1)) {
        return NGX_OK;
    }

    question.matcher = matcher;
    question.group = group;

    return ngx_snorky_filter_match(group->filter, ngx_snorky_matcher_answer,
                                   &question);
}


static ngx_int_t
ngx_snorky_matcher_answer(void *ctx, ngx_uint_t n, ngx_str_t *value)
{
    ngx_snorky_matcher_question_t *question = ctx;

    ngx_int_t                   rc;
    ngx_snorky_matcher_path_t  *path;

    path = question->group->paths[n];

    rc = ngx_snorky_matcher_value(question->matcher, path);

    if (rc == NGX_OK) {
        *value = path->value;
    }

    return rc;
}


/* each path is followed once in a document */

static ngx_int_t
ngx_snorky_matcher_value(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_path_t *path)
{
    if (path->document != matcher->document) {
        path->document = matcher->document;
        path->rc = ngx_snorky_matcher_read_value(matcher, path);
    }

    return path->rc;
}


static ngx_int_t
ngx_snorky_matcher_read_value(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_path_t *path)
{
    ngx_str_t                   key, *text;
    ngx_snorky_json_node_t     *node;
    ngx_snorky_matcher_copy_t  *copy;

    node = ngx_snorky_filter_find(matcher->index.json, matcher->root,
                                  &path->node.key);
    if (node == NULL) {
        return NGX_DECLINED;
    }

    text = &node->value.text;

    if (ngx_snorky_json_key(matcher->index.keys, text,
                            NGX_SNORKY_JSON_ANY_DEPTH, &key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* in the document's own text, or in the parser's memory till the next */

    if (key.data != text->data) {
        copy = ngx_alloc(sizeof(ngx_snorky_matcher_copy_t) + key.len,
                         matcher->index.log);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        copy->next = matcher->copies;
        matcher->copies = copy;

        ngx_memcpy(copy + 1, key.data, key.len);
        key.data = (u_char *) (copy + 1);
    }

    path->value = key;

    return NGX_OK;
}


static void
ngx_snorky_matcher_free_copies(ngx_snorky_matcher_t *matcher)
{
    ngx_snorky_matcher_copy_t  *copy, *next;

    for (copy = matcher->copies; copy; copy = next) {
        next = copy->next;
        ngx_free(copy);
    }

    matcher->copies = NULL;
}


static ngx_inline ngx_snorky_matcher_item_t *
ngx_snorky_matcher_hit_item(ngx_snorky_matcher_hit_t *hit)
{
    return ngx_queue_data(hit->next, ngx_snorky_matcher_item_t, queue);
}


/*
 * The items of the groups that match, all in the order in which they were
 * added, as those of each group are: the group whose next item is the oldest
 * stands at the top of a heap.
 */

static void
ngx_snorky_matcher_deliver(ngx_snorky_matcher_t *matcher,
    ngx_snorky_matcher_pt call, void *ctx)
{
    ngx_uint_t                 i, n;
    ngx_snorky_matcher_hit_t  *hit;

    hit = matcher->hits;
    n = matcher->nhits;

    for (i = n / 2; i > 0; i--) {
        ngx_snorky_matcher_sift(hit, n, i - 1);
    }

    while (n) {
        call(ctx, ngx_snorky_matcher_hit_item(hit), hit->kind);

        hit->next = ngx_queue_next(hit->next);

        if (hit->next == ngx_queue_sentinel(&hit->group->items)) {
            *hit = matcher->hits[--n];
        }

        ngx_snorky_matcher_sift(hit, n, 0);
    }
}


/* the hit at i goes down to where those below it are younger */

static void
ngx_snorky_matcher_sift(ngx_snorky_matcher_hit_t *hits, ngx_uint_t n,
    ngx_uint_t i)
{
    uint64_t                  order;
    ngx_uint_t                child;
    ngx_snorky_matcher_hit_t  hit;

    if (n < 2) {
        return;
    }

    hit = hits[i];
    order = ngx_snorky_matcher_hit_item(&hit)->order;

    for ( ;; ) {
        child = 2 * i + 1;

        if (child >= n) {
            break;
        }

        if (child + 1 < n
            && ngx_snorky_matcher_hit_item(&hits[child + 1])->order
               < ngx_snorky_matcher_hit_item(&hits[child])->order)
        {
            child++;
        }

        if (order < ngx_snorky_matcher_hit_item(&hits[child])->order) {
            break;
        }

        hits[i] = hits[child];
        i = child;
    }

    hits[i] = hit;
}
