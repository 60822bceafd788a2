<?php

declare(strict_types=1);

namespace Edge;

/**
 * Metrics of the application, which Prometheus finds on the server's /metrics:
 *
 *     $metrics = new Metrics();
 *     $metrics->declare('orders_total', 'counter', 'Orders by payment.', labels: ['payment']);
 *     $metrics->add('orders_total', 1, ['card']);
 *
 * declare() may be called by every worker: what is declared already stays. Values of labels come in the order of their names.
 */
final class Metrics
{
    private readonly RPC $rpc;

    public function __construct(?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /**
     * @param string               $type       counter, gauge, histogram or summary
     * @param list<string>         $labels     names of labels
     * @param list<float>          $buckets    upper bounds of a histogram
     * @param array<string, float> $objectives quantiles of a summary and the error of each: ['0.5' => 0.05, '0.99' => 0.001]
     */
    public function declare(
        string $name,
        string $type,
        string $help = '',
        array $labels = [],
        array $buckets = [],
        array $objectives = [],
        string $namespace = '',
        string $subsystem = '',
    ): void {
        $collector = [
            'namespace' => $namespace, 'subsystem' => $subsystem, 'type' => $type, 'help' => $help,
            'labels' => $labels, 'buckets' => $buckets, 'objectives' => (object) $objectives,
        ];
        $this->rpc->call('metrics.Declare', ['name' => $name, 'collector' => $collector]);
    }

    /**
     * To a counter or a gauge.
     *
     * @param list<string> $labels
     */
    public function add(string $name, float $value = 1, array $labels = []): void
    {
        $this->change('metrics.Add', $name, $value, $labels);
    }

    /**
     * From a gauge.
     *
     * @param list<string> $labels
     */
    public function sub(string $name, float $value = 1, array $labels = []): void
    {
        $this->change('metrics.Sub', $name, $value, $labels);
    }

    /**
     * A gauge.
     *
     * @param list<string> $labels
     */
    public function set(string $name, float $value, array $labels = []): void
    {
        $this->change('metrics.Set', $name, $value, $labels);
    }

    /**
     * For a histogram or a summary.
     *
     * @param list<string> $labels
     */
    public function observe(string $name, float $value, array $labels = []): void
    {
        $this->change('metrics.Observe', $name, $value, $labels);
    }

    /** Takes a metric away. */
    public function unregister(string $name): void
    {
        $this->rpc->call('metrics.Unregister', $name);
    }

    /** @param list<string> $labels */
    private function change(string $method, string $name, float $value, array $labels): void
    {
        $this->rpc->call($method, ['name' => $name, 'value' => $value, 'labels' => \array_values(\array_map('strval', $labels))]);
    }
}
