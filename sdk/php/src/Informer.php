<?php

declare(strict_types=1);

namespace Edge;

/** The PHP pools of the server and their workers. A pool is named as in edge.yaml; "http" are all of them where none is called so. */
final class Informer
{
    private readonly RPC $rpc;

    public function __construct(?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /** @return list<string> the pools */
    public function pools(): array
    {
        return $this->rpc->call('informer.List', true);
    }

    /**
     * @return list<array{pid: int, status: int, numExecs: int, created: int, memoryUsage: int, CPUPercent: float, command: string, statusStr: string}>
     */
    public function workers(string $pool): array
    {
        return $this->rpc->call('informer.Workers', $pool)['workers'] ?? [];
    }

    /** Adds a worker to a pool for as long as the server runs. */
    public function addWorker(string $pool): void
    {
        $this->rpc->call('informer.AddWorker', $pool);
    }

    /** Takes a worker from a pool when it is done. */
    public function removeWorker(string $pool): void
    {
        $this->rpc->call('informer.RemoveWorker', $pool);
    }

    /** Replaces the workers of a pool, one after the other. */
    public function reset(string $pool): void
    {
        $this->rpc->call('resetter.Reset', $pool);
    }
}
