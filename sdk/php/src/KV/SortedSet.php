<?php

declare(strict_types=1);

namespace Edge\KV;

use Edge\KV;

/**
 * Members with scores, in the order of their scores; what rankings are made of. KV::sorted() gives them.
 *
 * PHP makes numbers of members such as "7" when they are keys of an array: cast them.
 */
final class SortedSet
{
    /** @internal */
    public function __construct(private readonly KV $kv, public readonly string $key)
    {
    }

    /**
     * Sets the scores of members and returns how many are new.
     *
     * @param array<string, int|float> $scores
     */
    public function add(array $scores): int
    {
        return $scores === [] ? 0 : $this->kv->op('ZAdd', ['key' => $this->key, 'members' => $scores])['number'];
    }

    /** Adds to the score of a member, 0 if it is not there, and returns it. */
    public function increment(string $member, int|float $by = 1): float
    {
        return $this->kv->op('ZIncrement', ['key' => $this->key, 'member' => $member, 'by' => (float) $by])['score'];
    }

    /** Removes members and returns how many were there. */
    public function remove(string ...$members): int
    {
        return $this->kv->op('ZRemove', ['key' => $this->key, 'members' => \array_fill_keys($members, 0.0)])['number'];
    }

    /**
     * Members by their places, both included, 0 for the lowest score; negative ones count from the end.
     *
     * @return array<string, float>
     */
    public function range(int $start = 0, int $stop = -1): array
    {
        return $this->kv->op('ZRange', ['key' => $this->key, 'start' => $start, 'stop' => $stop])['members'];
    }

    /**
     * The members with the highest scores.
     *
     * @return array<string, float>
     */
    public function top(int $count): array
    {
        return $count < 1 ? [] : $this->kv->op('ZRange', ['key' => $this->key, 'stop' => $count - 1, 'reverse' => true])['members'];
    }

    /**
     * Members whose score is between two, both included; null is no bound.
     *
     * @return array<string, float>
     */
    public function between(?float $min, ?float $max, int $skip = 0, int $limit = 0, bool $reverse = false): array
    {
        return $this->kv->op('ZRange', [
            'key' => $this->key, 'by_score' => true, 'start' => $skip, 'stop' => $limit, 'reverse' => $reverse, 'min' => $min, 'max' => $max,
        ])['members'];
    }

    /** The place of a member, 0 for the lowest score, or the highest with $reverse; null if it is not there. */
    public function rank(string $member, bool $reverse = false): ?int
    {
        $result = $this->kv->op('ZRank', ['key' => $this->key, 'member' => $member, 'reverse' => $reverse]);

        return $result['found'] ? $result['number'] : null;
    }

    public function score(string $member): ?float
    {
        $result = $this->kv->op('ZScore', ['key' => $this->key, 'member' => $member]);

        return $result['found'] ? $result['score'] : null;
    }

    public function count(): int
    {
        return $this->kv->op('ZCard', ['key' => $this->key])['number'];
    }
}
