<?php

declare(strict_types=1);

namespace Edge\Exception;

/** The server refused to publish, or to answer about channels. */
class BroadcastException extends RPCException
{
}
