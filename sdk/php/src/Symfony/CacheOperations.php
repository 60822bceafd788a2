<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\KV;

/**
 * What the two adapters have in common.
 *
 * @internal
 */
trait CacheOperations
{
    private KV $kv;

    protected function doFetch(array $ids): iterable
    {
        $none = $this;
        foreach ($this->kv->getMultiple($ids, $none) as $id => $value) {
            if ($value !== $none) {
                yield $id => $value;
            }
        }
    }

    protected function doHave(string $id): bool
    {
        return $this->kv->has($id);
    }

    protected function doDelete(array $ids): bool
    {
        $this->kv->deleteMultiple($ids);

        return true;
    }

    protected function doClear(string $namespace): bool
    {
        if ($namespace === '') {
            $this->kv->clear();

            return true;
        }
        foreach (\array_chunk(\iterator_to_array($this->kv->scan($namespace), false), 1000) as $ids) {
            $this->kv->deleteMultiple($ids);
        }

        return true;
    }
}
