<?php

declare(strict_types=1);

namespace Edge\Laravel;

/**
 * What a shared service was like before a request, to make it so again. The service stays the same object, so whoever holds it sees
 * what the request changes in it, as under php-fpm; a copy would be seen by those only who ask the container for it.
 *
 * @internal
 */
final class Snapshot
{
    /** @var array<string, mixed> */
    private readonly array $values;

    /** @var array<string, mixed> what give() has replaced */
    private array $given = [];
    private readonly \Closure $write;
    private readonly \Closure $changed;

    /** @param array<string, true> $except properties that are only remembered results; they go when something else has changed */
    public function __construct(private readonly object $service, private readonly array $except = [])
    {
        // The properties are not public: what reads and writes them belongs to the class.
        $inside = static fn (\Closure $access): \Closure => \Closure::bind($access, null, $service::class);
        $this->values = $inside(static fn (object $service): array => \get_object_vars($service))($service);
        $this->write = $inside(static function (object $service, array $values): void {
            foreach ($values as $name => $value) {
                $service->$name = $value;
            }
        });
        $this->changed = $inside(static function (object $service, array $values): array {
            $changed = [];
            foreach ($values as $name => $value) {
                if ($service->$name !== $value) {
                    $changed[$name] = $value;
                }
            }

            return $changed;
        });
    }

    /** Gives the service another value, such as a container, until restore(). One that has no such property needs none. */
    public function give(string $name, mixed $value): void
    {
        if (\array_key_exists($name, $this->values)) {
            $this->given[$name] = $this->values[$name];
            ($this->write)($this->service, [$name => $value]);
        }
    }

    public function restore(): void
    {
        if ($this->given !== []) {
            ($this->write)($this->service, $this->given);
            $this->given = [];
        }
        $changed = ($this->changed)($this->service, $this->values);
        if ($changed !== [] && \array_diff_key($changed, $this->except) !== []) {
            ($this->write)($this->service, $changed);
        }
    }

    /** Empties a property. */
    public static function clear(object $service, string $property, mixed $empty = []): void
    {
        \Closure::bind(static function (object $service) use ($property, $empty): void {
            if (\property_exists($service, $property)) {
                $service->$property = $empty;
            }
        }, null, $service::class)($service);
    }
}
