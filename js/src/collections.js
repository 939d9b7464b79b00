/* Copies of the application's rows, which deltas keep up to date. */
export class Collection {
}


export class ArrayCollection extends Collection {
    constructor(array, { transformItem = (item) => item } = {}) {
        super();
        this.array = array;
        this.transformItem = transformItem;
    }

    insert(item) {
        this.array.push(this.transformItem(item));
    }

    getIterator() {
        const { array } = this;

        return walk(() => array.length, (at) => array[at], (at, ...items) =>
            array.splice(at, 1, ...items.map((item) =>
                this.transformItem(item))));
    }
}


/* One item, which is the page's own: it has functions for it. */
export class SingleItemCollection extends Collection {
    constructor(readHandler, updateHandler, removeHandler = () => {}) {
        super();
        Object.assign(this, { readHandler, updateHandler, removeHandler });
    }

    /* there is one already */
    insert() {
    }

    getIterator() {
        let size = 1;

        return walk(() => size, () => this.readHandler(), (at, ...items) => {
            if (items.length > 0) {
                this.updateHandler(items[0]);

            } else {
                size = 0;
                this.removeHandler();
            }
        });
    }
}


/*
 * Goes along, and changes what next() has given last: change(at, item), or
 * change(at) to remove it.
 */
function walk(size, read, change) {
    let at = -1;
    let there = false;

    const check = () => {
        if (!there) {
            throw new Error('There is no item');
        }
    };

    const hasNext = () => at + 1 < size();

    return {
        hasNext,

        next() {
            there = hasNext();
            check();
            at += 1;
            return read(at);
        },

        remove() {
            check();
            there = false;
            change(at);
            at -= 1;
        },

        update(item) {
            check();
            change(at, item);
        },
    };
}


/* Does to collections what deltas tell. */
export class CollectionDeltaProcessor {
    constructor(collections = {}, { itemsAreEqual } = {}) {
        this.collections = collections;
        this.itemsAreEqual = itemsAreEqual ?? haveOneId;
    }

    processDelta(delta) {
        const { type, model, tag, data, newData, oldData } = delta;
        const found = this.collections[model];
        const collection = found?.getIterator ? found : found?.[tag];

        if (!collection) {
            console.error('Snorky: no collection', delta);

        } else if (type === 'insert') {
            /* it may have been among the rows that were there before */
            const known = data?.id !== undefined
                          && this.#find(collection, data, delta);

            known ? known.update(data) : collection.insert(data);

        } else if (type === 'update') {
            this.#find(collection, oldData, delta)?.update(newData);

        } else if (type === 'delete') {
            this.#find(collection, data, delta)?.remove();
        }
    }

    #find(collection, data, delta) {
        const iterator = collection.getIterator();

        while (iterator.hasNext()) {
            if (this.itemsAreEqual(iterator.next(), data, delta)) {
                return iterator;
            }
        }

        return undefined;
    }
}


/* a page's own may be texts */
function haveOneId(item, other) {
    return String(item?.id) === String(other.id);
}
