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

        return new Walk({
            size: () => array.length,
            read: (at) => array[at],
            remove: (at) => array.splice(at, 1),
            update: (at, item) => { array[at] = this.transformItem(item); },
        });
    }
}


/* One item, which is the page's own: it has functions for it. */
export class SingleItemCollection extends Collection {
    constructor(readHandler, updateHandler, removeHandler = () => {}) {
        super();
        Object.assign(this, { readHandler, updateHandler, removeHandler });
    }

    insert() {
        console.error("Snorky: a single item can't be inserted");
    }

    getIterator() {
        let size = 1;

        return new Walk({
            size: () => size,
            read: () => this.readHandler(),
            remove: () => { size = 0; this.removeHandler(); },
            update: (at, item) => this.updateHandler(item),
        });
    }
}


/* Goes along, and changes what next() has given last. */
class Walk {
    #items;
    #at = -1;
    #there = false;

    constructor(items) {
        this.#items = items;
    }

    hasNext() {
        return this.#at + 1 < this.#items.size();
    }

    next() {
        this.#there = this.hasNext();
        this.#check();
        return this.#items.read(++this.#at);
    }

    remove() {
        this.#check();
        this.#there = false;
        this.#items.remove(this.#at--);
    }

    update(item) {
        this.#check();
        this.#items.update(this.#at, item);
    }

    #check() {
        if (!this.#there) {
            throw new Error('There is no item');
        }
    }
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
            console.error('Snorky: no collection for', delta);

        } else if (type === 'insert') {
            collection.insert(data);

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
