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
        return new ArrayIterator(this);
    }
}


/* One item, which is the page's own: it has functions for it. */
export class SingleItemCollection extends Collection {
    constructor(readHandler, updateHandler, removeHandler = () => {}) {
        super();
        Object.assign(this, { readHandler, updateHandler, removeHandler });
    }

    insert() {
        console.error('Snorky: a single item can\'t be inserted');
    }

    getIterator() {
        return new SingleItemIterator(this);
    }
}


/* Walks along, and changes the item that next() gave last. */
class Iterator {
    at = -1;
    there = false;

    constructor(collection) {
        this.collection = collection;
    }

    hasNext() {
        return this.at + 1 < this.size;
    }

    next() {
        if (!this.hasNext()) {
            throw new Error('There is no next item');
        }

        this.at += 1;
        this.there = true;
        return this.read();
    }

    check() {
        if (!this.there) {
            throw new Error('There is no item here, call next()');
        }
    }
}


class ArrayIterator extends Iterator {
    get size() {
        return this.collection.array.length;
    }

    read() {
        return this.collection.array[this.at];
    }

    remove() {
        this.check();
        this.there = false;
        this.collection.array.splice(this.at--, 1);
    }

    update(item) {
        this.check();
        this.collection.array[this.at] = this.collection.transformItem(item);
    }
}


class SingleItemIterator extends Iterator {
    size = 1;

    read() {
        return this.collection.readHandler();
    }

    remove() {
        this.check();
        this.collection.removeHandler();
    }

    update(item) {
        this.check();
        this.collection.updateHandler(item);
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
