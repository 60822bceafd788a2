<?php

declare(strict_types=1);

namespace Edge\Cache;

use Psr\Cache\CacheItemInterface;

/** An item of a Pool. */
class Item implements CacheItemInterface
{
    /** When the item ends, in Unix time with its fraction; null is never, or the pool's default. */
    private ?float $expiry = null;

    /** Whether the application said when it ends. */
    private bool $decided = false;

    /** @internal a Pool makes items */
    public function __construct(private readonly string $key, protected mixed $value = null, protected bool $hit = false)
    {
    }

    public function getKey(): string
    {
        return $this->key;
    }

    public function get(): mixed
    {
        return $this->hit ? $this->value : null;
    }

    public function isHit(): bool
    {
        return $this->hit;
    }

    /** @param mixed $value */
    public function set($value): static
    {
        $this->value = $value;

        return $this;
    }

    /** @param \DateTimeInterface|null $expiration */
    public function expiresAt($expiration): static
    {
        if ($expiration !== null && !$expiration instanceof \DateTimeInterface) {
            throw new InvalidArgument('expiresAt() takes a DateTimeInterface or null, not ' . \get_debug_type($expiration));
        }
        $this->decided = $expiration !== null;
        $this->expiry = $expiration === null ? null : (float) $expiration->format('U.u');

        return $this;
    }

    /** @param int|\DateInterval|null $time */
    public function expiresAfter($time): static
    {
        if ($time instanceof \DateInterval) {
            return $this->expiresAt((new \DateTimeImmutable())->add($time));
        }
        if ($time !== null && !\is_int($time)) {
            throw new InvalidArgument('expiresAfter() takes seconds, a DateInterval or null, not ' . \get_debug_type($time));
        }
        $this->decided = $time !== null;
        $this->expiry = $time === null ? null : \microtime(true) + $time;

        return $this;
    }

    /**
     * What is to be stored, for how many seconds; null is for ever.
     *
     * @internal
     *
     * @return array{mixed, float|null}
     */
    public function toStore(?int $default): array
    {
        return [$this->value, $this->decided ? $this->expiry - \microtime(true) : $default];
    }

    /**
     * The item as one that will be found, since it was saved.
     *
     * @internal
     */
    public function saved(): static
    {
        $copy = clone $this;
        $copy->hit = !$this->decided || $this->expiry > \microtime(true);

        return $copy;
    }
}
