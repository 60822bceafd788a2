<?php

declare(strict_types=1);

namespace Edge\Cache;

use Cache\TagInterop\TaggableCacheItemInterface;

/** An item of a TaggablePool. Its value is stored together with its tags, since getPreviousTags() tells them. */
final class TaggableItem extends Item implements TaggableCacheItemInterface
{
    /** @var list<string> */
    private array $previous = [];

    /** @var list<string> */
    private array $tags = [];

    /** @internal */
    public function __construct(string $key, mixed $stored = null, bool $hit = false)
    {
        $hit = $hit && \is_array($stored) && \count($stored) === 2 && isset($stored['tags']) && \array_key_exists('value', $stored);
        parent::__construct($key, $hit ? $stored['value'] : null, $hit);
        $this->previous = $hit ? $stored['tags'] : [];
    }

    /** @return list<string> */
    public function getPreviousTags(): array
    {
        return $this->previous;
    }

    /** @param list<string> $tags */
    public function setTags(array $tags): static
    {
        foreach ($tags as $tag) {
            TaggablePool::checkTag($tag);
        }
        $this->tags = \array_values(\array_unique($tags));

        return $this;
    }

    public function toStore(?int $default): array
    {
        [$value, $ttl] = parent::toStore($default);

        return [['value' => $value, 'tags' => $this->tags], $ttl];
    }

    public function saved(): static
    {
        $copy = parent::saved();
        $copy->previous = $this->tags;

        return $copy;
    }
}
