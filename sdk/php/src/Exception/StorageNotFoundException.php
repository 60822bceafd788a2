<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The kv section of edge.yaml has no storage of that name. */
final class StorageNotFoundException extends KVException
{
}
