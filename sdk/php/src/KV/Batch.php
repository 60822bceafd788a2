<?php

declare(strict_types=1);

namespace Edge\KV;

use Edge\Exception\KVException;
use Edge\KV;

/**
 * Operations that go to the server in one call and are done there one after the other:
 *
 *     [$visits, , $name] = $kv->batch()->increment('visits')->set('seen', true, ttl: 60)->get('name')->run();
 *
 * It is no transaction: when one fails, the others are done. run() returns what each method of KV would have returned.
 */
final class Batch
{
    /** @var list<string> */
    private array $ops = [];

    /** @var list<array{string, string, mixed}> name, key, default */
    private array $asked = [];

    /** @internal */
    public function __construct(private readonly KV $kv)
    {
    }

    public function get(string $key, mixed $default = null): self
    {
        return $this->put('Get', ['key' => $key], $default);
    }

    public function set(string $key, mixed $value, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): self
    {
        return $this->put('Put', ['key' => $key, 'value' => $this->kv->encode($value), 'ttl' => KV::milliseconds($ttl)]);
    }

    public function add(string $key, mixed $value, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): self
    {
        return $this->put('Add', ['key' => $key, 'value' => $this->kv->encode($value), 'ttl' => KV::milliseconds($ttl)]);
    }

    /** @param list<string> $tags */
    public function setTagged(string $key, mixed $value, array $tags, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): self
    {
        return $this->put('SetTagged', ['key' => $key, 'value' => $this->kv->encode($value), 'tags' => $tags, 'ttl' => KV::milliseconds($ttl)]);
    }

    public function increment(string $key, int $by = 1, int|float|\DateInterval|\DateTimeInterface|null $ttl = null): self
    {
        return $this->put('Increment', ['key' => $key, 'delta' => $by, 'ttl' => KV::milliseconds($ttl)]);
    }

    public function touch(string $key, int|float|\DateInterval|\DateTimeInterface|null $ttl): self
    {
        return $this->put('Touch', ['key' => $key, 'ttl' => KV::milliseconds($ttl)]);
    }

    public function remove(string $key): self
    {
        return $this->put('Remove', ['key' => $key]);
    }

    /** Another operation of docs/kv.md with the fields of its message; its result is the message of the answer. */
    public function op(string $name, array $fields): self
    {
        return $this->put($name, $fields, $this);
    }

    /**
     * Runs the operations and empties the batch. An operation that failed has a KVException in its place.
     *
     * @return list<mixed>
     */
    public function run(): array
    {
        [$ops, $asked] = [$this->ops, $this->asked];
        $this->ops = $this->asked = [];
        if ($ops === []) {
            return [];
        }
        $out = [];
        foreach ($this->kv->op('Batch', ['ops' => $ops])['results'] as $i => $result) {
            [$name, $key, $default] = $asked[$i];
            $out[] = match (true) {
                $result['error'] !== '' => new KVException($result['error'], "kv.$name"),
                $default === $this => $result,
                $name === 'Get' => $result['found'] ? $this->kv->decode($result['value'], $key) : $default,
                $name === 'Increment' => $result['number'],
                $name === 'Remove' => $result['found'],
                default => $result['ok'],
            };
        }

        return $out;
    }

    /** @param array<string, mixed> $fields */
    private function put(string $name, array $fields, mixed $default = null): self
    {
        $this->ops[] = Wire::op(['op' => $name] + $fields);
        $this->asked[] = [$name, $fields['key'] ?? '', $default];

        return $this;
    }
}
